# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group as the swarm and its proxies show it: who is live, and whether the proxies agree."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._rollout.state import Traffic
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.group import Endpoint, SwarmGroup, observe, version_of
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.views import views

NODES = {"n1": {"ID": "n1", "Status": {"Addr": "10.0.0.1", "State": "ready"}}}
BLUE, GREEN = "10.0.0.1:30001", "10.0.0.1:30002"


def service(colour: str, *, replicas: int = 1, group: str | None = "web", **labels: str) -> dict[str, Any]:
    given = {f"zdd.rollout.{key}": value for key, value in labels.items()}
    return {
        "ID": f"id-{colour}",
        "CreatedAt": "2026-01-01T00:00:00.123456789Z",
        "Spec": {
            "Name": f"web-{colour}",
            "Labels": {**({"zdd.rollout.group": group} if group else {}), **given},
            "Mode": {"Replicated": {"Replicas": replicas}},
            "TaskTemplate": {"ContainerSpec": {"Image": f"web:7@sha256:{'a' * 64}"}},
            "EndpointSpec": {"Ports": [{"Protocol": "tcp", "TargetPort": 8000, "PublishMode": "host"}]},
        },
    }


def task(published: int, state: str = "running") -> dict[str, Any]:
    port = {"Protocol": "tcp", "TargetPort": 8000, "PublishedPort": published, "PublishMode": "host"}
    return {
        "ID": f"t{published}",
        "NodeID": "n1",
        "DesiredState": "running",
        "Status": {"State": state, "PortStatus": {"Ports": [port]}},
    }


def view(green: float, blue_at: str | None = BLUE, green_at: str | None = GREEN) -> dict[str, Any]:
    known = {"blue": [blue_at] if blue_at else [], "green": [green_at] if green_at else []}
    return {"name": "p", "share": {"blue": 100 - green, "green": green}, "addresses": known}


def group(*shown: dict[str, Any], green: bool = True) -> SwarmGroup:
    services = {"blue": service("blue"), **({"green": service("green")} if green else {})}
    tasks = {"blue": [task(30001)], "green": [task(30002)]}
    return observe("web", services, tasks, NODES, views(shown), Endpoint())


def test_live_is_what_has_all_requests_of_all_proxies() -> None:
    seen = group(view(0), view(0))

    assert (seen.live, seen.idle, seen.agreed, seen.split) == ("blue", "green", True, False)
    assert (seen.traffic("blue"), seen.traffic("green")) == (Traffic.ALL, Traffic.NONE)


def test_with_a_canary_nothing_is_live_and_the_proxies_agree() -> None:
    seen = group(view(5), view(5.4))

    assert (seen.live, seen.agreed, seen.split, seen.leading) == (None, True, True, "blue")
    assert seen.traffic("green") is Traffic.SOME
    assert (seen.as_colour("green").share, seen.as_colour("green").lowest_share) == (5.4, 5)


def test_proxies_that_send_requests_to_different_colours_disagree() -> None:
    seen = group(view(0), view(100))

    assert (seen.live, seen.agreed, seen.leading) == (None, False, None)


def test_a_proxy_without_addresses_serves_nothing_and_does_not_disagree() -> None:
    """The file of a new nginx says blue, which it knows no task of."""
    seen = group(view(100), view(0, None, None))

    assert (seen.live, seen.agreed) == ("green", True)
    assert seen.traffic("green") is Traffic.SOME


def test_a_task_that_a_proxy_does_not_know_is_not_served_everywhere() -> None:
    assert group(view(0, blue_at="10.0.0.9:1")).traffic("blue") is Traffic.SOME


def test_requests_to_a_service_that_is_gone_make_nothing_live() -> None:
    assert group(view(100), green=False).live is None


def test_only_tasks_that_are_ready_count() -> None:
    seen = observe(
        "web", {"blue": service("blue", replicas=2)}, {"blue": [task(1), task(2, "starting")]}, NODES, (), Endpoint()
    ).colours["blue"]

    assert (seen.replicas, seen.ready, seen.addresses) == (2, 1, {"10.0.0.1:1"})


def test_the_labels_tell_what_is_deployed() -> None:
    labels = {"version": "7.1", "definition": "abc", "deployed_at": "2026-02-02T00:00:00.000000+00:00"}
    with_labels = observe("web", {"blue": service("blue", **labels)}, {}, NODES, (), Endpoint()).colours["blue"]
    without = observe("web", {"blue": service("blue")}, {}, NODES, (), Endpoint()).colours["blue"]

    assert (with_labels.version, with_labels.definition, with_labels.deployed_at) == tuple(labels.values())
    assert (without.version, without.definition) == ("7", None)
    assert without.deployed_at < with_labels.deployed_at


@pytest.mark.parametrize("owner", [None, "shop"])
def test_a_service_of_someone_else_is_refused(owner: str | None) -> None:
    with pytest.raises(InvalidInput, match="made by someone else"):
        observe("web", {"blue": service("blue", group=owner)}, {}, NODES, (), Endpoint())


def test_a_global_service_has_no_count() -> None:
    everywhere = service("blue")
    everywhere["Spec"]["Mode"] = {"Global": {}}

    with pytest.raises(InvalidInput, match="not replicated"):
        observe("web", {"blue": everywhere}, {}, NODES, (), Endpoint())


def test_the_port_has_to_be_given_where_a_service_publishes_two() -> None:
    two = service("blue")
    two["Spec"]["EndpointSpec"]["Ports"].append({"Protocol": "tcp", "TargetPort": 9000, "PublishMode": "host"})

    with pytest.raises(InvalidInput, match="publishes 8000, 9000"):
        observe("web", {"blue": two}, {"blue": [task(1)]}, NODES, (), Endpoint())
    assert (
        observe("web", {"blue": two}, {"blue": [task(1)]}, NODES, (), Endpoint(target_port=8000)).colours["blue"].ready
    )


def test_an_image_is_called_by_its_tag_or_by_its_digest() -> None:
    assert version_of(f"registry:5000/web:7@sha256:{'a' * 64}") == "7"
    assert version_of(f"registry:5000/web@sha256:{'a' * 64}") == "a" * 12
    assert version_of("registry:5000/web") == "latest"
