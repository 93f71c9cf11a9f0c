# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook finds the pushed image in what registries send, and nothing in anything else.

The messages have the form that the registries document: Docker's distribution (docs/content/about/notifications.md),
Harbor (administration, configure webhooks), GitHub (webhook event registry_package), Docker Hub (webhooks). Conditions
are close enough to Jinja's expressions to be evaluated as such; the one operator that is not, ``selectattr``, is here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from jinja2 import ChainableUndefined, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

from tests.static.tools import ROOT

RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "swarm_preview.yml"
DIGEST = "sha256:" + "5e1f" * 16
VARIABLES = {
    "preview_token": "hush",
    "preview_repository": "shop/web",
    "preview_registry": "registry.example.com:5000",
    "preview_port": 5000,
}
PINNED = f"registry.example.com:5000/shop/web:2@{DIGEST}"


def distribution(*targets: dict[str, Any], action: str = "push") -> dict[str, Any]:
    return {
        "events": [
            {
                "id": "asdf-asdf-asdf-asdf-0",
                "timestamp": "2006-01-02T15:04:05Z",
                "action": action,
                "target": {
                    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "length": 1,
                    "digest": DIGEST,
                    "repository": "shop/web",
                    "url": f"https://elsewhere.example.org/v2/shop/web/manifests/{DIGEST}",
                    **target,
                },
                "request": {"id": "asdfasdf", "addr": "client.local", "host": "elsewhere.example.org", "method": "PUT"},
                "actor": {"name": "test-actor"},
                "source": {"addr": "hostname.local:port"},
            }
            for target in targets
        ]
    }


def harbor(kind: str = "PUSH_ARTIFACT", repository: str = "shop/web") -> dict[str, Any]:
    resource = {"digest": DIGEST, "tag": "2", "resource_url": f"elsewhere.example.org/{repository}:2"}
    name = {"date_created": 1582634337, "name": "web", "namespace": "shop", "repo_full_name": repository}
    return {
        "type": kind,
        "occur_at": 1680502893,
        "operator": "harbor-jobservice",
        "event_data": {"resources": [resource], "repository": {**name, "repo_type": "private"}},
    }


def github(action: str = "published", kind: str = "CONTAINER") -> dict[str, Any]:
    version = {"version": DIGEST, "container_metadata": {"tag": {"name": "2", "digest": DIGEST}}}
    package = {"name": "web", "namespace": "shop", "package_type": kind, "package_version": version}
    return {"action": action, "registry_package": package, "repository": {"full_name": "shop/web"}}


def hub(repository: str = "shop/web") -> dict[str, Any]:
    return {
        "callback_url": "https://elsewhere.example.org/hook",
        "push_data": {"pushed_at": 1417566161, "pusher": "someone", "tag": "2"},
        "repository": {"name": "web", "namespace": "shop", "repo_name": repository, "status": "Active"},
    }


@pytest.fixture(name="ruleset", scope="module")
def _ruleset() -> dict[str, Any]:
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text())
    return ruleset


def images(ruleset: dict[str, Any], payload: dict[str, Any]) -> dict[str, str]:
    """The images of the rules that this message sets off, by the names of the rules."""
    known = {"event": {"payload": payload, "meta": {"headers": {}}}, "vars": VARIABLES}
    conditions = NativeEnvironment(undefined=ChainableUndefined)
    conditions.tests["selectattr"] = selects
    texts = NativeEnvironment(undefined=StrictUndefined)
    return {
        rule["name"]: texts.from_string(rule["action"]["run_playbook"]["extra_vars"]["swarm_preview_image"]).render(
            **known, **VARIABLES
        )
        for rule in ruleset["rules"]
        if conditions.compile_expression(rule["condition"])(**known)
    }


def selects(items: Any, path: str, operator: str, value: Any) -> bool:
    """Whether an item of the list has at ``path`` what is compared with, as the rules engine has it."""
    compare = {"==": lambda found: found == value, "regex": lambda found: bool(re.search(value, str(found)))}[operator]
    found = []
    for item in items or []:
        value_there = item
        for part in path.split("."):
            value_there = value_there.get(part) if isinstance(value_there, dict) else None
        found.append(value_there)
    return any(compare(one) for one in found if one is not None)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (distribution({"tag": "2"}), {"Distribution": PINNED}),
        (distribution({}, {"tag": "2"}), {"Distribution": PINNED}),
        (distribution({"tag": "1"}, {"tag": "2"}), {"Distribution": PINNED}),
        (distribution({"tag": "2"}, {"repository": "shop/other", "tag": "9"}), {"Distribution": PINNED}),
        (harbor(), {"Harbor": PINNED}),
        (github(), {"GitHub": PINNED}),
        (hub(), {"Docker Hub": PINNED.partition("@")[0]}),
    ],
    ids=["distribution", "with a layer", "the last of two", "among others", "harbor", "github", "docker hub"],
)
def test_a_push_shows_its_image_with_the_name_of_our_registry(
    ruleset: dict[str, Any], payload: dict[str, Any], expected: dict[str, str]
) -> None:
    assert {rule: image.strip() for rule, image in images(ruleset, payload).items()} == expected


TEMPLATE = "a{{ lookup('pipe', 'true') }}"


@pytest.mark.parametrize(
    "payload",
    [
        distribution({"tag": TEMPLATE, "digest": TEMPLATE}),
        {**hub(), "push_data": {"tag": TEMPLATE}},
        yaml.safe_load(yaml.safe_dump(harbor()).replace(DIGEST, f'"{TEMPLATE}"')),
        yaml.safe_load(yaml.safe_dump(github()).replace(DIGEST, f'"{TEMPLATE}"')),
    ],
    ids=["distribution", "docker hub", "harbor", "github"],
)
def test_no_message_brings_a_template_in(ruleset: dict[str, Any], payload: dict[str, Any]) -> None:
    (image,) = images(ruleset, payload).values()
    assert "lookup" in image and "{" not in image


@pytest.mark.parametrize(
    "payload",
    [
        distribution({}),
        distribution({"tag": "2"}, action="pull"),
        distribution({"tag": "2", "repository": "shop/other"}),
        distribution({"tag": "2", "repository": "shop/web/evil"}),
        harbor("DELETE_ARTIFACT"),
        harbor(repository="shop/webb"),
        github("deleted"),
        github(kind="npm"),
        hub("other/web"),
        {},
        {"zen": "Design for failure.", "hook_id": 1},
    ],
    ids=lambda payload: str(sorted(payload)),
)
def test_nothing_else_does(ruleset: dict[str, Any], payload: dict[str, Any]) -> None:
    assert images(ruleset, payload) == {}


def test_it_has_the_form_of_a_rulebook(ruleset: dict[str, Any]) -> None:
    """By the schema of ansible-rulebook."""
    assert set(ruleset) <= {"name", "hosts", "gather_facts", "sources", "rules", "execution_strategy"}
    assert ruleset["execution_strategy"] == "sequential", "two runs at once would undo each other"
    for rule in ruleset["rules"]:
        assert set(rule) == {"name", "condition", "action"} and isinstance(rule["condition"], str)
        assert set(rule["action"]) == {"run_playbook"}
        assert set(rule["action"]["run_playbook"]) <= {"name", "extra_vars"}


def test_nobody_without_the_token_gets_in(ruleset: dict[str, Any]) -> None:
    (source,) = ruleset["sources"]
    assert source["ansible.eda.webhook"]["token"] == "{{ preview_token }}"


def test_the_playbook_and_the_variable_are_there(ruleset: dict[str, Any]) -> None:
    specs = yaml.safe_load((ROOT / "roles" / "swarm_preview" / "meta" / "argument_specs.yml").read_text())
    known = specs["argument_specs"]["main"]["options"]
    for rule in ruleset["rules"]:
        run = rule["action"]["run_playbook"]
        namespace, _separator, name = run["name"].rpartition(".")
        assert namespace == "zdd.rollout" and (ROOT / "playbooks" / f"{name}.yml").exists()
        assert set(run["extra_vars"]) <= set(known)
