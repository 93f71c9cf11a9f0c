# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new image is shown at once on a port of its own, nothing leads a live request to it, and a bad one goes again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    swarm_preview_plan,
    swarm_service_rollback,
)
from tests.integration_py.operating import operate
from tests.rehearsal.playbook import Run
from tests.sandbox.swarm import launch
from tests.swarm.preview_service import Preview

LABEL = "zdd.rollout.preview"
SERVICE = {
    "name": "shop",
    "image": "shop:1",
    "env": {"MODE": "live"},
    "labels": {"traefik.http.routers.shop.rule": "Host(`shop`)", "zdd.rollout.group": "shop"},
    "networks": [{"name": "inner", "aliases": ["shop"]}, "other"],
    "publish": [{"target_port": 8000, "published_port": 80, "mode": "host"}],
    "replicas": 8,
    "update_config": {"parallelism": 2, "order": "stop-first"},
}


def define(**options: Any) -> dict[str, Any]:
    defaults = {
        "service": SERVICE,
        "image": "shop:2",
        "version": None,
        "replicas": 1,
        "target_port": None,
        "published_port": None,
        "networks": None,
        "labels": {},
        "override": {},
    }
    return swarm_preview_plan.definition({**defaults, **options}, "shop")


# What is deployed.


def test_nothing_of_the_service_leads_its_requests_to_the_preview() -> None:
    wanted = define()

    assert (wanted["name"], wanted["image"], wanted["replicas"]) == ("shop-preview", "shop:2", 1)
    assert wanted["labels"] == {LABEL: "shop", "zdd.rollout.version": "2"}
    assert wanted["networks"] == [{"name": "inner"}, "other"]
    assert wanted["publish"] == [{"target_port": 8000, "mode": "host"}]
    assert wanted["env"] == {"MODE": "live"}


@given(
    st.lists(
        st.fixed_dictionaries(
            {"target_port": st.integers(1, 65535)},
            optional={
                "published_port": st.integers(1, 65535),
                "protocol": st.sampled_from(["tcp", "udp"]),
                "mode": st.sampled_from(["host", "ingress"]),
            },
        ),
        max_size=4,
        unique_by=lambda port: (port["target_port"], port.get("protocol", "tcp")),
    ),
    st.integers(1, 65535),
    st.none() | st.integers(1, 65535),
)
def test_only_its_own_port_is_fixed_and_the_old_one_stops_first_only_then(
    ports: list[dict[str, Any]], target_port: int, fixed: int | None
) -> None:
    before = [dict(port) for port in ports]
    wanted = define(service={**SERVICE, "publish": ports}, target_port=target_port, published_port=fixed)

    taken = [port["published_port"] for port in wanted["publish"] if "published_port" in port]
    assert taken == ([] if fixed is None else [fixed])
    assert any(port["target_port"] == target_port and port["mode"] == "host" for port in wanted["publish"])
    assert wanted["update_config"]["order"] == ("start-first" if fixed is None else "stop-first")
    assert ports == before


def test_what_is_different_from_the_service_is_taken() -> None:
    wanted = define(override={"env": {"MODE": "test"}}, networks=["apart"], labels={"team": 7}, version="a", replicas=2)

    assert (wanted["env"], wanted["networks"], wanted["replicas"]) == ({"MODE": "test"}, ["apart"], 2)
    assert wanted["labels"] == {"team": "7", LABEL: "shop", "zdd.rollout.version": "a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": {"zdd.rollout.group": "shop"}}, "zdd.rollout.group is set by the role"),
        ({"override": {"publish": []}}, "publish cannot be replaced"),
        ({"service": {**SERVICE, "publish": []}}, "publishes no port"),
        ({"service": {**SERVICE, "publish": ["80:80"]}}, "is no port with a target_port"),
        ({"replicas": 0}, "1 or more"),
        ({"published_port": 70000}, "from 1 to 65535"),
    ],
)
def test_what_cannot_be_a_preview_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        define(**options)


# On a swarm.


@pytest.fixture(name="preview")
def _preview(swarm: launch.Swarm, tmp_path: Path) -> Iterator[Preview]:
    """The preview of a group of its own; its service is gone afterwards."""
    found = Preview(swarm, "looked", tmp_path)
    try:
        yield found
    finally:
        found.remove()


def shown(preview: Preview) -> list[str]:
    """The versions that answer at the preview's addresses."""
    return [requests.get(f"http://{address}/", timeout=5).json()["version"] for address in preview.addresses()]


def test_a_new_image_replaces_the_one_before_and_the_same_one_changes_nothing(preview: Preview) -> None:
    first, again, second = preview.show("service:1"), preview.show("service:1"), preview.show("service:2", VERSION="2")

    assert [run.code for run in (first, again, second)] == [0, 0, 0], second.output
    assert [run.changed for run in (first, again, second)] == [1, 0, 1]
    assert shown(preview) == ["2"]
    assert preview.spec()["Labels"] == {LABEL: "looked", "zdd.rollout.version": "2"}
    assert f"service:2 is at {preview.addresses()[0]}" in second.output


def test_check_mode_deploys_nothing(preview: Preview) -> None:
    run = preview.show("service:1", check=True)

    assert run.code == 0, run.output
    assert preview.spec() is None


@pytest.mark.parametrize("port", [None, 18090], ids=["a port of Docker's choice", "a fixed port"])
def test_an_image_that_is_not_there_is_named_and_the_one_before_is_back(preview: Preview, port: int | None) -> None:
    before = preview.show("service:1", port=port)
    broken = preview.show("service:none", port=port)

    assert before.code == 0, before.output
    assert broken.code == 2
    assert told(broken, "looked-preview does not run service:none as expected: ", "No such image: service:none")
    assert told(broken, "The image from before is back: service:1")
    assert shown(preview) == ["1"]
    assert port is None or preview.addresses()[0].endswith(f":{port}")


def test_an_image_that_answers_something_else_is_put_back(preview: Preview) -> None:
    checks = [{"path": "/", "jmespath": "version == '1'"}]
    good = preview.show("service:1", checks=checks)
    bad = preview.show("service:2", checks=checks, VERSION="2")

    assert good.code == 0, good.output
    assert bad.code == 2
    assert told(bad, "is down (expected", "The image from before is back: service:1")
    assert shown(preview) == ["1"]


def test_one_that_may_stay_is_left_as_it_is(preview: Preview) -> None:
    preview.show("service:1")
    bad = preview.show("service:2", checks=[{"path": "/", "status": 404}], swarm_preview_rollback="false")

    assert bad.code == 2
    assert told(bad, "The service is left as it is.")
    assert preview.image() == "service:2"


def test_a_first_one_that_is_bad_has_nothing_to_go_back_to(preview: Preview) -> None:
    run = preview.show("service:none")

    assert run.code == 2
    assert told(run, "No such image", "The service is left as it is.")


def test_a_service_of_somebody_else_is_not_touched(preview: Preview) -> None:
    preview.make("service:1", {"team": "other"})
    shown_run, removed = preview.show("service:2"), preview.absent()

    assert (shown_run.code, removed.code) == (2, 2)
    assert told(shown_run, "made by someone else") and told(removed, "made by someone else")
    assert preview.image() == "service:1"


def test_it_is_removed_once(preview: Preview) -> None:
    preview.show("service:1")
    runs = preview.absent(), preview.absent()

    assert [(run.code, run.changed) for run in runs] == [(0, 1), (0, 0)]
    assert preview.spec() is None


def test_a_service_that_was_never_changed_has_no_definition_to_go_back_to(
    swarm: launch.Swarm, preview: Preview
) -> None:
    preview.make("service:1", {})
    result = operate(swarm_service_rollback, docker_host=swarm.docker_host, name="looked-preview")

    assert result["failure"]["code"] == "no_previous"
    assert "was never changed" in result["msg"]


def test_the_digest_is_not_asked_where_there_is_no_registry_but_a_warning_is(preview: Preview) -> None:
    run = preview.show("service:1", swarm_preview_resolve_image="true")

    assert run.code == 0, run.output
    assert told(run, "No registry told the digest of service:1")


def told(run: Run, *texts: str) -> bool:
    """Whether the run printed all of them, however its lines were broken."""
    printed = " ".join(run.output.split())
    missing = [text for text in texts if " ".join(text.split()) not in printed]
    assert not missing, (missing, run.output[-3000:])
    return True
