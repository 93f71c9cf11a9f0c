# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of marathon-lb decides like the real one, in the recorded cases and in what follows from its rules."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dateutil.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import marathon_lb_decision as model

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
CASES = json.loads((RECORDINGS / "marathon-lb-cases.json").read_text())
STATES = sorted((RECORDINGS / "zdd-states").glob("*.json"))
CHECK = {
    "protocol": "HTTP",
    "path": "/health",
    "portIndex": 0,
    "intervalSeconds": 1,
    "timeoutSeconds": 2,
    "gracePeriodSeconds": 10,
    "maxConsecutiveFailures": 3,
}


def outcome(apps: list[Any]) -> dict[str, Any]:
    try:
        return model.decide(apps)
    except model.Undecidable as error:
        return {"error": error.error}


def task(number: int, port: int, *, alive: bool | None = True, state: str = "TASK_RUNNING") -> dict[str, Any]:
    return {
        "id": f"{port}.instance-{number:04}",
        "host": f"127.0.0.{number % 4 + 1}",
        "ports": [port + number],
        "state": state,
        "ipAddresses": [{"ipAddress": f"172.16.0.{number + 1}", "protocol": "IPv4"}],
        **({} if alive is None else {"healthCheckResults": [{"alive": alive}]}),
    }


def app(colour: str, tasks: list[dict[str, Any]], **overrides: Any) -> dict[str, Any]:
    """An app of the group ``web`` with zdd.py's labels; ``labels`` are added, with the value ``None`` taken away."""
    started = {"blue": "2026-01-01T10:00:00.000000", "green": "2026-01-01T11:00:00.000000"}[colour]
    labels = {
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_MODE": "http",
        "HAPROXY_DEPLOYMENT_GROUP": "web",
        "HAPROXY_DEPLOYMENT_STARTED_AT": started,
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(overrides.pop("target", 4)),
        **overrides.pop("labels", {}),
    }
    return {
        "id": f"/web-{colour}",
        "instances": len(tasks),
        "labels": {name: text for name, text in labels.items() if text is not None},
        "portDefinitions": [{"port": 10000}],
        "networks": [{"mode": "host"}],
        "healthChecks": [CHECK],
        "versionInfo": {"lastScalingAt": f"2026-01-01T{overrides.pop('scaled', 12)}:00:00.000Z"},
        "tasks": tasks,
        **overrides,
    }


def tasks(port: int, count: int, **kind: Any) -> list[dict[str, Any]]:
    return [task(number, port, **kind) for number in range(count)]


def drained(decision: dict[str, Any]) -> set[str]:
    return {row["server"] for row in decision["servers"] if row["disabled"]}


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_decides_like_the_real_one(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["apps"])

    assert outcome(case["apps"]) == case["result"]
    assert case["apps"] == before, "the caller's apps were changed"


@pytest.mark.parametrize("path", STATES, ids=[path.stem for path in STATES])
def test_predicts_what_haproxy_showed_in_deployments_that_zdd_left_half_done(path: Path) -> None:
    state = json.loads(path.read_text())
    decision = model.decide(state["apps"]["apps"] if isinstance(state["apps"], dict) else state["apps"])

    shown = {row["svname"]: row["status"] == "MAINT" for row in state["haproxy"]}
    assert {row["server"]: row["disabled"] for row in decision["servers"]} == shown


@pytest.mark.parametrize(
    ("green", "target", "warm", "switched"),
    [
        (4, 4, (0, 4), (4, 0)),
        (4, 3, (0, 4), (4, 0)),
        (4, 6, (0, 4), (2, 0)),
        (6, 6, (0, 4), (4, 0)),
        (3, 3, (0, 3), (3, 0)),
    ],
)
def test_the_receiver_drains_by_its_own_target(
    green: int, target: int, warm: tuple[int, int], switched: tuple[int, int]
) -> None:
    """The table of what touching blue (warm) and green (switched) drains, with four live blue tasks of target 4."""

    def counts(blue_scaled: int) -> tuple[int, int]:
        names = drained(
            model.decide(
                [
                    app("blue", tasks(31000, 4), scaled=blue_scaled),
                    app("green", tasks(32000, green), scaled=12, target=target),
                ]
            )
        )
        return sum("_310" in name for name in names), sum("_320" in name for name in names)

    assert (counts(blue_scaled=13), counts(blue_scaled=11)) == (warm, switched)


def test_without_target_on_the_app_that_was_scaled_last_no_app_gets_a_configuration() -> None:
    apps = [
        app("blue", tasks(31000, 4), scaled=13, labels={"HAPROXY_DEPLOYMENT_TARGET_INSTANCES": None}),
        app("green", tasks(32000, 4)),
        {**app("green", tasks(33000, 1), labels={"HAPROXY_DEPLOYMENT_GROUP": None}), "id": "/other"},
    ]

    with pytest.raises(model.Undecidable, match="/web-blue has no HAPROXY_DEPLOYMENT_TARGET_INSTANCES") as caught:
        model.decide(apps)
    assert caught.value.error == "KeyError: 'HAPROXY_DEPLOYMENT_TARGET_INSTANCES'"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"versionInfo": None}, "KeyError: 'versionInfo'"),
        ({"target": "many"}, "ValueError: invalid literal for int() with base 10: 'many'"),
        ({"labels": {"HAPROXY_DEPLOYMENT_GROUP": ""}}, "IndexError: string index out of range"),
        ({"labels": {"HAPROXY_DEPLOYMENT_STARTED_AT": "new"}}, "ParserError: Unknown string format: new"),
    ],
)
def test_one_bad_app_in_a_group_breaks_it_off_for_all(change: dict[str, Any], error: str) -> None:
    bystander = {**app("blue", tasks(33000, 1), labels={"HAPROXY_DEPLOYMENT_GROUP": None}), "id": "/other"}
    blue, green = app("blue", tasks(31000, 1)), app("green", tasks(32000, 1), scaled=13)
    bad = app("green", tasks(32000, 1), scaled=13, **change)

    assert "servers" in outcome([bystander, blue, green])
    assert outcome([bystander, blue, bad])["error"] == error


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ({"HAPROXY_0_PORT": "http"}, "ValueError: invalid literal for int() with base 10: 'http'"),
        ({"HAPROXY_0_BACKEND_SERVER_OPTIONS": "server {nme}"}, "KeyError: 'nme'"),
        ({"HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX": "1"}, "IndexError: list index out of range"),
    ],
)
def test_one_bad_label_of_any_app_breaks_it_off_for_all(labels: dict[str, str], error: str) -> None:
    good = {**app("blue", tasks(33000, 1), labels={"HAPROXY_DEPLOYMENT_GROUP": None}), "id": "/other"}

    assert outcome([good, app("blue", tasks(31000, 1), labels=labels)])["error"] == error


def test_labels_and_checks_are_those_of_the_app_that_gives_the_traffic_away() -> None:
    blue = app("blue", tasks(31000, 1), labels={"HAPROXY_0_STICKY": "true", "HAPROXY_0_PORT": "12000"})
    green = app("green", tasks(32000, 1), scaled=13, healthChecks=[{**CHECK, "path": "/new"}])

    (service,) = model.services([blue, green])

    assert (service.port, service.sticky, service.check and service.check["path"]) == (12000, True, "/health")


def test_a_template_without_the_placeholder_cannot_drain() -> None:
    """Users override the server line: where it has no ``{otherOptions}``, the word ``disabled`` never appears."""
    own = {"HAPROXY_0_BACKEND_SERVER_OPTIONS": "  server {serverName} {host_ipv4}:{port} id {serverId}\n"}
    apps = [app("blue", tasks(31000, 4), labels=own), app("green", tasks(32000, 4), scaled=13)]

    assert drained(model.decide(apps)) == set()
    assert sum(server.draining for server in model.services(apps)[0].servers) == 4


@pytest.mark.parametrize(
    ("definition", "address", "name"),
    [
        ({"networks": [{"mode": "host"}]}, "10.0.0.7:31000", "node-1_corp_10_0_0_7_31000"),
        (
            {
                "networks": [{"mode": "container/bridge"}],
                "container": {"portMappings": [{"containerPort": 80, "servicePort": 10000}]},
            },
            "10.0.0.7:31000",
            "node-1_corp_10_0_0_7_31000",
        ),
        (
            {
                "networks": [{"mode": "container", "name": "net"}],
                "container": {"portMappings": [{"containerPort": 80, "servicePort": 10000}]},
            },
            "172.16.0.1:80",
            "node-1_corp_172_16_0_1_80",
        ),
        (
            {
                "networks": None,
                "container": {
                    "docker": {"network": "BRIDGE", "portMappings": [{"containerPort": 80, "servicePort": 10000}]}
                },
            },
            "10.0.0.7:31000",
            "node-1_corp_10_0_0_7_31000",
        ),
    ],
    ids=["host", "bridge", "container", "bridge of Marathon 1.4"],
)
def test_every_kind_of_network_has_its_address(definition: dict[str, Any], address: str, name: str) -> None:
    apps = [app("blue", [{**task(0, 31000), "host": "node-1.corp"}], **definition)]

    decision = model.decide(apps, resolve={"node-1.corp": "10.0.0.7"}.get)

    assert [(row["backend"], row["address"], row["server"]) for row in decision["servers"]] == [
        ("web_10000", address, name)
    ]


def test_each_service_port_is_a_backend_of_its_own() -> None:
    two = {"portDefinitions": [{"port": 10000}, {"port": 10001}]}
    blue = app("blue", [{**task(0, 31000), "ports": [31000, 31500]}], **two)
    green = app("green", [{**task(0, 32000), "ports": [32000, 32500]}], scaled=13, target=1, **two)

    decision = model.decide([blue, green])

    assert [(row["backend"], row["address"], row["disabled"], row["check"]) for row in decision["servers"]] == [
        ("web_10000", "127.0.0.1:31000", True, True),
        ("web_10000", "127.0.0.1:32000", False, True),
        ("web_10001", "127.0.0.1:31500", True, False),
        ("web_10001", "127.0.0.1:32500", False, False),
    ]


def test_a_port_of_another_lb_group_is_not_served() -> None:
    apps = [app("blue", tasks(31000, 1), labels={"HAPROXY_0_GROUP": "internal"})]

    assert model.decide(apps)["servers"] == []
    assert len(model.decide(apps, groups=("internal",))["servers"]) == 1
    assert len(model.decide(apps, groups=("*",))["servers"]) == 1


def test_a_task_without_results_counts_as_it_was_last_seen() -> None:
    apps = [app("blue", [task(0, 31000, alive=None)])]
    (seen,) = (task["id"] for task in apps[0]["tasks"])

    assert model.decide(apps)["servers"] == []
    assert len(model.decide(apps, remembered={seen: True})["servers"]) == 1
    assert len(model.decide(apps, health_check=False)["servers"]) == 1


@pytest.mark.parametrize("state", sorted(model.EXCLUDED_STATES))
def test_a_task_that_does_not_run_gets_no_server(state: str) -> None:
    assert model.decide([app("blue", tasks(31000, 1, state=state))])["servers"] == []


@pytest.mark.parametrize("state", ["TASK_RUNNING", "TASK_LOST", "TASK_UNREACHABLE"])
def test_a_task_that_may_still_run_keeps_its_server(state: str) -> None:
    assert len(model.decide([app("blue", tasks(31000, 1, state=state))])["servers"]) == 1


zones = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])


@given(st.datetimes(), zones)
def test_times_are_read_like_dateutil_reads_them(moment: datetime, zone: timezone | None) -> None:
    text = moment.replace(tzinfo=zone).isoformat()

    assert model.parse_time(text) == dateutil.parser.parse(text)


@pytest.mark.parametrize(
    "text", ["2026-01-01T10:00:00.123Z", "2026-01-01 10:00", "20260101T100000", "2026-01-01", "2026-01-01T10:00+0200"]
)
def test_other_iso_forms_are_read_like_dateutil_reads_them(text: str) -> None:
    assert model.parse_time(text) == dateutil.parser.parse(text)


counts = st.integers(0, 12)


@st.composite
def groups_of_two(draw: st.DrawFn) -> list[dict[str, Any]]:
    def one(colour: str, port: int) -> dict[str, Any]:
        alive = draw(st.lists(st.sampled_from([True, False, None]), max_size=8))
        labels = {
            "HAPROXY_DEPLOYMENT_NEW_INSTANCES": draw(st.sampled_from([None, "0", "2"])),
        }
        return app(
            colour,
            [task(number, port, alive=state) for number, state in enumerate(alive)],
            instances=draw(counts),
            target=draw(counts),
            scaled=draw(st.integers(11, 14)),
            labels=labels,
        )

    return draw(st.permutations([one("blue", 31000), one("green", 32000)]))


@given(counts, counts, counts, counts)
def test_never_more_is_drained_than_exists_than_is_replaced_or_than_keeps_the_target(
    old_tasks: int, instances: int, healthy: int, target: int
) -> None:
    count = model.drained_count(old_tasks, instances, healthy, target)

    assert 0 <= count <= min(old_tasks, healthy)
    assert count == 0 or healthy + instances - count >= target


@given(groups_of_two())
def test_only_one_app_of_two_is_drained_and_not_below_the_others_healthy_tasks(apps: list[dict[str, Any]]) -> None:
    (merged,) = model.merged_by_group(apps)
    idle = {task["id"] for task in merged["tasks"] if task.get("draining")}
    by_app = [{task["id"] for task in app["tasks"]} & idle for app in apps]

    assert [] in map(list, by_app)
    for drained_here, other in zip(by_app, reversed(apps), strict=True):
        assert len(drained_here) <= model.healthy_count(other)


@given(groups_of_two())
def test_the_order_of_the_list_does_not_matter(apps: list[dict[str, Any]]) -> None:
    """Both apps have health checks and dates that differ, so nothing depends on which one Marathon lists first."""
    assert model.decide(apps) == model.decide(apps[::-1])


@given(st.sets(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1), max_size=40))
def test_server_ids_are_unique_stable_and_in_range(names: set[str]) -> None:
    taken: list[int] = []
    for name in sorted(names):
        number = model.server_id(name, taken)
        assert 0 < number < 32767
        assert number not in taken
        assert number == model.server_id(name, taken)
        taken.append(number)


@pytest.mark.parametrize(
    ("group", "backend"), [("web", "web_10000"), ("/web", "web_10000"), ("/team/web", "team_web_10000")]
)
def test_backends_are_named_after_the_group_and_the_port(group: str, backend: str) -> None:
    assert model.backend_name(group, 10000) == backend
