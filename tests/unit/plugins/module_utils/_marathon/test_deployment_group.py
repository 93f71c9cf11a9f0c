# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition needs to be rolled out, what its colour gets, and whom marathon-lb sends the traffic to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._marathon.deployment_group import (
    FRESH_STATE,
    assigned_ports,
    by_age,
    check_definition,
    colour_definition,
    group_name,
    receiver,
    same_version,
    started_at,
    template_is_stock,
    version_of,
)

Json = dict[str, Any]

WEB: Json = {
    "id": "/shop/web",
    "cmd": "run",
    "instances": 4,
    "portDefinitions": [{"port": 0, "name": "http"}, {"port": 10001}],
    "healthChecks": [{"protocol": "HTTP", "path": "/health"}],
    "labels": {"HAPROXY_GROUP": "external"},
}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def web(**fields: Any) -> Json:
    return {**WEB, **fields}


def live(name: str, started: str | None, scaled: str, **labels: str) -> Json:
    given = {"HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4", **labels}
    if started is not None:
        given["HAPROXY_DEPLOYMENT_STARTED_AT"] = started
    return {"id": name, "labels": given, "instances": 4, "versionInfo": {"lastScalingAt": scaled}, "tasks": []}


def coloured(definition: Json, **options: Any) -> Json:
    given: Json = {
        "colour": "blue",
        "group": "shop_web",
        "version": "2",
        "started_at": "2026-01-02T12:00:00.000000",
        "target": 4,
        "instances": 4,
        "turnable": True,
        "fresh_state": True,
    }
    return colour_definition(definition, **{**given, **options})


def test_the_group_is_the_option_the_label_or_made_of_the_id() -> None:
    labelled = web(labels={"HAPROXY_DEPLOYMENT_GROUP": "shop"})

    assert group_name(labelled, "mine") == "mine"
    assert group_name(labelled) == "shop"
    assert group_name(WEB) == "shop_web"


@pytest.mark.parametrize("name", ["two words", "a\nb", "ü", "a,b"])
def test_a_group_that_marathon_cannot_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="HAPROXY_DEPLOYMENT_GROUP"):
        group_name(WEB, name)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": None}, "id is None"),
        ({"id": "/"}, "id is '/'"),
        ({"id": "/Shop"}, "'Shop'.*lower case"),
        ({"id": "/a_b"}, "'a_b'"),
        ({"id": "/-a"}, "'-a'"),
        ({"labels": {}}, "HAPROXY_GROUP"),
        ({"labels": {"HAPROXY_GROUP": 1}}, "labels"),
        ({"healthChecks": []}, "healthChecks"),
        ({"instances": 0}, "instances is 0"),
        ({"instances": True}, "instances is True"),
        ({"instances": "four"}, "instances is 'four'"),
        ({"portDefinitions": []}, "no port"),
        ({"labels": {"HAPROXY_GROUP": "x", "HAPROXY_DEPLOYMENT_COLOUR": "red"}}, "'red'.*blue and green"),
    ],
)
def test_a_definition_that_cannot_be_rolled_out_is_refused_by_its_field(fields: Json, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_definition(web(**fields))


@pytest.mark.parametrize(
    "fields", [{}, {"id": "shop/web.v1"}, {"instances": None}, {"labels": {"HAPROXY_0_GROUP": "x"}}]
)
def test_a_sound_definition_passes(fields: Json) -> None:
    check_definition(web(**fields))


def test_a_colour_gets_the_labels_by_which_it_can_be_turned() -> None:
    made = coloured(WEB)

    assert made["id"] == "/shop/web-blue"
    assert made["labels"]["HAPROXY_DEPLOYMENT_GROUP"] == "shop_web"
    assert made["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] == "4"
    assert made["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"] == "0"
    for index in (0, 1):
        assert FRESH_STATE in made["labels"][f"HAPROXY_{index}_BACKEND_HEAD"]
    assert WEB["labels"] == {"HAPROXY_GROUP": "external"}


def test_a_partner_that_cannot_be_turned_is_not_told_to_compare_counts() -> None:
    """With the label marathon-lb would look for the target of an app that has none, and stop for all apps."""
    assert "HAPROXY_DEPLOYMENT_NEW_INSTANCES" not in coloured(WEB, turnable=False)["labels"]


def test_a_users_own_backend_head_is_kept_and_completed() -> None:
    head = "\nbackend {backend}\n  balance leastconn\n  mode {mode}\n"
    made = coloured(web(labels={"HAPROXY_GROUP": "x", "HAPROXY_0_BACKEND_HEAD": head}))

    assert made["labels"]["HAPROXY_0_BACKEND_HEAD"] == f"{head}  {FRESH_STATE}\n"


def test_both_colours_share_the_service_ports_that_marathon_has_chosen() -> None:
    made = coloured(WEB, live_ports=[10123, 10999])

    assert assigned_ports(made) == [10123, 10001]
    assert assigned_ports(WEB) == [10001]


def test_a_colour_is_the_same_version_as_the_definition_that_it_was_made_of() -> None:
    made = coloured(WEB, live_ports=[10123])

    assert same_version(web(portDefinitions=made["portDefinitions"]), made)
    assert not same_version(web(cmd="run faster", portDefinitions=made["portDefinitions"]), made)


@pytest.mark.parametrize(
    ("app", "version"),
    [
        ({"labels": {"ZDD_VERSION": "7"}, "env": {"VERSION": "6"}}, "7"),
        ({"container": {"docker": {"image": "registry:5000/shop/web:1.2"}}}, "1.2"),
        ({"container": {"docker": {"image": "shop/web@sha256:abc"}}}, "sha256:abc"),
        ({"container": {"docker": {"image": "shop/web:1.2@sha256:abc"}}}, "1.2"),
        ({"env": {"VERSION": "6"}}, "6"),
        ({"env": {"VERSION": {"secret": "s"}}, "version": "2026"}, "2026"),
        ({}, "unnamed"),
    ],
)
def test_what_people_call_a_version(app: Json, version: str) -> None:
    assert version_of(app) == version


def test_a_start_time_is_naive_utc_and_later_than_all_others() -> None:
    """zdd.py writes local time, which may lie in the future here."""
    east = NOON.astimezone(timezone(timedelta(hours=9)))

    assert started_at([], east) == "2026-01-02T12:00:00.000000"
    later = live("/a", "2026-01-02T21:00:00", "2026-01-01T00:00:00.000Z")
    assert started_at([later], NOON) == "2026-01-02T21:00:00.000001"


def test_a_start_time_is_aware_where_those_of_the_group_are() -> None:
    """marathon-lb cannot compare the two kinds, and stops for all apps."""
    aware = live("/a", "2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00.000Z")

    assert started_at([aware], NOON) == "2026-01-02T12:00:00.000000+00:00"


def test_apps_are_ordered_as_marathon_lb_orders_them() -> None:
    old, new = live("/a", None, "x"), live("/b", "2026-01-01T00:00:00", "x")

    assert [app["id"] for app in by_age([new, old])] == ["/a", "/b"]


def test_start_times_that_cannot_be_compared_are_refused() -> None:
    mixed = [live("/a", "2026-01-01T00:00:00", "x"), live("/b", "2026-01-01T00:00:00+00:00", "x")]

    with pytest.raises(InvalidInput, match="HAPROXY_DEPLOYMENT_STARTED_AT"):
        by_age(mixed)


def test_a_third_app_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(InvalidInput, match=r"3 apps.*/a, /b, /c"):
        by_age([live(name, None, "x") for name in ("/c", "/a", "/b")])


def test_the_app_that_was_scaled_last_receives() -> None:
    early, late = "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"
    old, new = live("/a", "2026-01-01", late), live("/b", "2026-01-02", early)

    assert receiver([old, new]) == old
    assert receiver([live("/a", "2026-01-01", early), live("/b", "2026-01-02", late)])["id"] == "/b"


def test_without_the_label_on_the_new_app_it_receives_whoever_was_scaled_last() -> None:
    old, new = (
        live("/a", "2026-01-01", "2026-01-02T00:00:00.000Z"),
        live("/b", "2026-01-02", "2026-01-01T00:00:00.000Z"),
    )
    del new["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"]

    assert receiver([old, new]) == new


@pytest.mark.parametrize(
    ("head", "stock"),
    [
        ("  balance roundrobin\n  mode http\n  option forwardfor\n", True),
        ("  balance roundrobin\n  mode http\n  load-server-state-from-file none\n", True),
        ("  mode http\n  balance roundrobin\n", False),
        ("  balance roundrobin\n  mode http\n  stick-table type ip size 1m\n", False),
    ],
)
def test_a_template_of_the_operators_own_is_seen(head: str, stock: bool) -> None:
    """The label would replace it."""
    assert template_is_stock([f"global\n\nbackend web_10000\n{head}  server a 10.0.0.1:80 check\n"]) is stock


def deployed_by_zdd() -> Json:
    """zdd.py gives the second colour its alternative port, and a label with the one that counts."""
    labels = {
        **WEB["labels"],
        "HAPROXY_DEPLOYMENT_GROUP": "web",
        "HAPROXY_DEPLOYMENT_COLOUR": "green",
        "HAPROXY_DEPLOYMENT_ALT_PORT": "20000",
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4",
        "HAPROXY_0_PORT": "10000",
        "HAPROXY_APP_ID": "/shop/web",
    }
    ports = [{"port": 20000, "name": "http"}, {"port": 10001}]
    return web(id="/shop/web-green", labels=labels, portDefinitions=ports)


def test_what_zdd_py_made_of_a_definition_is_that_version() -> None:
    wanted = web(portDefinitions=[{"port": 10000, "name": "http"}, {"port": 10001}])

    assert same_version(wanted, deployed_by_zdd())
    assert not same_version({**wanted, "portDefinitions": [{"port": 20000, "name": "http"}]}, deployed_by_zdd())
    assert not same_version({**wanted, "cmd": "run faster"}, deployed_by_zdd())


def test_the_port_that_counts_is_the_one_that_is_shared() -> None:
    assert assigned_ports(deployed_by_zdd()) == [10000, 10001]
