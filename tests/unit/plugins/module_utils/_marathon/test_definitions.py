# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes and what Marathon shows have one normal form."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._marathon import definitions as d

RECORDINGS = next(
    folder / "recordings"
    for folder in Path(__file__).resolve().parents
    if (folder / "recordings" / "definitions-and-defaults.json").is_file()
)

# Ports that Marathon assigns are left open in the recordings.
ASSIGNED = "<service port>"


def recorded(name: str) -> list[dict[str, Any]]:
    return json.loads((RECORDINGS / name).read_text())["steps"]


def created_and_read() -> Iterator[Any]:
    """Each definition that was accepted, with the app that was read afterwards."""
    steps = recorded("definitions-and-defaults.json")
    for sent, read in itertools.pairwise(steps):
        if sent["response"]["status"] == 201:
            yield pytest.param(sent["request"]["json"], read["response"]["body"]["app"], id=sent["about"])


def with_ports(value: Any, port: int = 10000) -> Any:
    if isinstance(value, dict):
        return {key: with_ports(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_ports(item, 10000 + index) for index, item in enumerate(value)]
    return port if value == ASSIGNED else value


def without_hosts(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("<host>", "127.0.0.1").replace("10080", "10000").replace("10001", "0"))


@pytest.mark.parametrize(("definition", "live"), list(created_and_read()))
def test_nothing_differs_from_what_marathon_made_of_a_definition(
    definition: dict[str, Any], live: dict[str, Any]
) -> None:
    live = without_hosts(with_ports(live))
    definition = without_hosts(definition)
    definition["ports"] = [0 for _port in definition["ports"]] if "ports" in definition else None

    assert d.differences(definition, live) == {}


@pytest.mark.parametrize(("definition", "live"), list(created_and_read()))
def test_the_normal_form_of_a_normal_form_is_itself(definition: dict[str, Any], live: dict[str, Any]) -> None:
    for form in (definition, with_ports(live)):
        assert d.normalise(d.normalise(form)) == d.normalise(form)


def test_a_definition_is_not_changed_by_normalising_it() -> None:
    definition = {
        "id": "a",
        "container": {"docker": {"image": "i", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}},
        "healthChecks": [{}],
    }
    before = json.dumps(definition)

    d.normalise(definition)
    d.wanted(definition, definition)

    assert json.dumps(definition) == before


LIVE = {
    "id": "/idem",
    "cmd": "sleep 1000",
    "instances": 3,
    "cpus": 0.1,
    "mem": 32.0,
    "labels": {"a": "1"},
    "networks": [{"mode": "host"}],
    "portDefinitions": [{"name": "default", "port": 10007, "protocol": "tcp"}],
    "maxLaunchDelaySeconds": 3600,
    "role": "*",
    "version": "2026-01-01T00:00:00.000Z",
    "tasksRunning": 3,
}


def test_defaults_spelled_out_change_nothing() -> None:
    definition = {
        "id": "idem",
        "cmd": "sleep 1000",
        "cpus": 0.1,
        "mem": 32,
        "disk": 0,
        "labels": {"a": "1"},
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1.0},
        "backoffSeconds": 1,
        "instances": None,
    }

    assert d.differences(definition, LIVE) == {}


def test_the_live_count_and_the_assigned_port_are_kept() -> None:
    after = d.wanted({"id": "/idem", "cmd": "true"}, LIVE)

    assert after["instances"] == 3
    assert after["portDefinitions"][0]["port"] == 10007
    assert after["labels"] == {}, "what is left out otherwise goes back to its default"


def test_a_count_alone_is_a_scale_and_a_label_is_not() -> None:
    same = {key: LIVE[key] for key in ("id", "cmd", "cpus", "mem", "labels")}

    assert d.is_scale_only({**same, "instances": 4}, LIVE)
    assert not d.is_scale_only({**same, "instances": 4, "labels": {"a": "2"}}, LIVE)
    assert not d.is_scale_only({**same, "instances": 3}, LIVE)


def test_a_default_that_was_changed_by_hand_is_a_difference() -> None:
    same = {key: LIVE[key] for key in ("id", "cmd", "cpus", "mem", "labels")}

    assert d.differences(same, {**LIVE, "maxLaunchDelaySeconds": 17}) == {
        "maxLaunchDelaySeconds": {"before": 17, "after": 300}
    }


def test_the_order_of_constraints_and_checks_means_nothing_that_of_args_does() -> None:
    base = {"id": "/a", "container": {"docker": {"image": "i"}}}
    one = {**base, "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY"]], "healthChecks": [{}, {"path": "/x"}]}
    two = {**base, "constraints": [["rack", "GROUP_BY"], ["hostname", "UNIQUE"]], "healthChecks": [{"path": "/x"}, {}]}

    assert d.normalise(one) == d.normalise(two)
    assert d.normalise({**base, "args": ["a", "b"]}) != d.normalise({**base, "args": ["b", "a"]})


BRIDGE_1_4 = {
    "id": "/web",
    "ports": [10080],
    "portDefinitions": [{"port": 10080, "protocol": "tcp", "labels": {}}],
    "ipAddress": None,
    "container": {
        "type": "DOCKER",
        "volumes": [],
        "docker": {
            "image": "nginx",
            "network": "BRIDGE",
            "portMappings": [
                {"containerPort": 80, "hostPort": 0, "servicePort": 10080, "protocol": "tcp", "labels": {}}
            ],
            "privileged": False,
            "parameters": [],
            "forcePullImage": False,
        },
    },
}
BRIDGE_1_5 = {
    "id": "/web",
    "networks": [{"mode": "container/bridge"}],
    "container": {"docker": {"image": "nginx"}, "portMappings": [{"containerPort": 80, "servicePort": 10080}]},
}
USER_1_4 = {
    "id": "/web",
    "ipAddress": {"networkName": "dcos", "labels": {}, "discovery": {"ports": []}},
    "container": {"docker": {"image": "nginx", "network": "USER", "portMappings": [{"containerPort": 80}]}},
}
USER_1_5 = {
    "id": "/web",
    "networks": [{"mode": "container", "name": "dcos"}],
    "container": {"docker": {"image": "nginx"}, "portMappings": [{"containerPort": 80}]},
}


@pytest.mark.parametrize(("old", "new"), [(BRIDGE_1_4, BRIDGE_1_5), (USER_1_4, USER_1_5)])
def test_old_and_new_networking_are_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert d.normalise(old) == d.normalise(new)


def test_service_ports_follow_the_network_and_the_labels() -> None:
    host = {"id": "/a", "portDefinitions": [{"port": 10001}, {"port": 10002}], "labels": {"HAPROXY_1_PORT": "10102"}}

    assert d.service_ports(host) == [10001, 10102]
    assert d.service_ports(BRIDGE_1_4) == d.service_ports(BRIDGE_1_5) == [10080]
    assert d.service_ports({"id": "/a", "ports": [10009]}) == [10009]
    assert d.service_ports({"id": "/a", "portDefinitions": []}) == []


@pytest.mark.parametrize(("written", "shown"), [("a", "/a"), ("/a//b/", "/a/b"), ("x/../y/./z", "/y/z"), ("/", "/")])
def test_app_ids_are_absolute(written: str, shown: str) -> None:
    assert d.app_path(written) == shown


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"cmd": "x"}, "/id"),
        ({"id": 7}, "/id"),
        ({"id": "/a", "instances": "two"}, "/instances"),
        ({"id": "/a", "instances": True}, "/instances"),
        ({"id": "/a", "labels": {"n": 1}}, "/labels/n"),
        ({"id": "/a", "env": {"n": 1}}, "/env/n"),
        ({"id": "/a", "healthChecks": ["/health"]}, "/healthChecks(0)"),
        ({"id": "/a", "healthChecks": {"path": "/"}}, "/healthChecks"),
    ],
)
def test_a_definition_of_wrong_types_is_refused_by_path(definition: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        d.check_definition(definition)

    assert [item["path"] for item in refused.value.detail] == [path]
    assert f"{path}: must be" in refused.value.message


def test_no_mapping_is_no_definition() -> None:
    with pytest.raises(InvalidInput, match="not a str"):
        d.check_definition("web")
