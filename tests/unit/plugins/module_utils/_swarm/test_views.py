# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proxies show, in one form for all kinds of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.weights import split
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.views import (
    name_pattern,
    server_name,
    views,
    views_of_haproxy,
)

NGINX = {
    "name": "proxy1",
    "kind": "nginx",
    "share": {"blue": 95.0, "green": 5.0},
    "addresses": {"blue": ["10.0.0.1:1"], "green": []},
    "old_workers": 2,
    "connections": {"10.0.0.1:1": 0},
}


def lb(**servers: tuple[str, int, str]) -> dict[str, Any]:
    """Servers by name: address, weight and state."""
    return {
        "lb": "haproxy1",
        "servers": {
            name.replace("_", "-"): {"address": address, "weight": weight, "state": state, "status": "UP"}
            for name, (address, weight, state) in servers.items()
        },
    }


def test_a_view_is_told_as_it_was_given() -> None:
    assert views([NGINX])[0].as_dict() == NGINX


def test_requests_for_a_colour_without_addresses_reach_nobody() -> None:
    (view,) = views([NGINX])

    assert (view.served("blue"), view.served("green"), view.serves) == (95, 0, True)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("proxy1", "entry 1"),
        ({"name": "proxy1"}, "entry 1"),
        ({**NGINX, "share": {"blue": 101}}, "proxy1: the share of blue is 101"),
        ({**NGINX, "share": {"blue": "much"}}, "'much'"),
        ({**NGINX, "kind": "envoy"}, "kind is 'envoy'"),
    ],
)
def test_what_is_no_view_is_refused(given: Any, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        views([given])


@given(st.floats(0.5, 99.5), st.integers(1, 12), st.integers(1, 12))
def test_the_weights_of_a_haproxy_are_its_share(share: float, count: int, others: int) -> None:
    own, rest = split(share, count, others)
    servers = {f"web_green.{number}.a": (f"10.0.0.1:{number}", weight, "ready") for number, weight in enumerate(own, 1)}
    servers |= {
        f"web_blue.{number}.b": (f"10.0.0.2:{number}", weight, "ready") for number, weight in enumerate(rest, 1)
    }

    (view,) = views_of_haproxy([lb(**servers)], "web")

    assert view.share["green"] == pytest.approx(share, abs=1)
    assert view.share["blue"] + view.share["green"] == pytest.approx(100)
    assert len(view.addresses["green"]) == count


def test_only_servers_that_are_set_ready_get_requests() -> None:
    drained = {"web_blue.1.a": ("10.0.0.1:1", 256, "drain"), "web_green.1.b": ("10.0.0.2:1", 1, "ready")}

    (view,) = views_of_haproxy([lb(**drained)], "web")

    assert view.share == {"blue": 0, "green": 100}
    assert not view.addresses["blue"]


def test_a_server_of_another_name_belongs_to_who_has_its_address() -> None:
    (view,) = views_of_haproxy(
        [lb(slot1=("10.0.0.1:1", 1, "ready"), slot2=("10.0.0.9:9", 1, "ready"))],
        "web",
        {"blue": frozenset({"10.0.0.1:1"})},
    )

    assert view.share == {"blue": 100, "green": 0}


def test_no_group_takes_the_servers_of_another() -> None:
    name = server_name("web-blue", 1, "abc")

    assert name == "web-blue.1.abc"
    assert re.match(name_pattern("web"), name)
    for other in ("we", "web-blue", "w.b", "shop-web"):
        assert not re.match(name_pattern(other), name)
