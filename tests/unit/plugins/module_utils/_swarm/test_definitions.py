# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of services: what may be deployed in two colours, and what makes two definitions the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.definitions import Definition, definition
from ansible_collections.zdd.rollout.plugins.module_utils._swarm.group import Endpoint

DIGEST = "sha256:" + "0123456789abcdef" * 4
PUBLISHED = [{"target_port": 8000, "mode": "host"}]
WEB: dict[str, Any] = {"name": "web", "image": "shop/web:7", "publish": PUBLISHED}


def made(options: dict[str, Any] | None = None, **fields: Any) -> Definition:
    return definition({**WEB, **fields}, **(options or {}))


def test_the_version_is_the_tag_of_the_image() -> None:
    assert made().version == "7"
    assert made(image="registry:5000/web").version == "latest"
    assert made(image=f"web@{DIGEST}").version == "0123456789ab"
    assert made({"version": "blue moon"}).version == "blue moon"


def test_an_image_without_a_tag_gets_the_version() -> None:
    assert made({"image": "registry:5000/web", "version": "8"}).image == "registry:5000/web:8"
    assert made({"image": "web:9", "version": "8"}).image == "web:9"


def test_an_image_is_pinned_and_keeps_its_tag() -> None:
    assert made().pinned(DIGEST).image == f"shop/web:7@{DIGEST}"
    assert made(image="registry:5000/web").pinned(DIGEST).image == f"registry:5000/web:latest@{DIGEST}"


@given(st.permutations([*{**WEB, "env": {"A": "1"}, "labels": {"a": "b"}, "replicas": 3}.items()]))
def test_the_order_in_which_it_is_written_makes_no_difference(items: list[tuple[str, Any]]) -> None:
    assert definition(dict(items)).hash() == made(env={"A": "1"}, labels={"a": "b"}).hash()


def test_the_count_makes_no_other_version_and_the_digest_does() -> None:
    assert made(replicas=3).hash() == made(replicas=4).hash() == made({"replicas": 5}).hash()
    assert made().pinned(DIGEST).hash() != made().hash()
    assert made(env={"A": "1"}).hash() != made(env={"A": "2"}).hash()


def test_a_field_that_is_none_was_not_given() -> None:
    assert made(hostname=None).hash() == made().hash()


def test_a_number_as_a_text_is_the_same_number() -> None:
    """Extra variables are texts."""
    assert made(publish=[{"target_port": "8000", "mode": "host"}]).hash() == made().hash()


def test_the_service_of_a_colour_has_the_labels_of_its_group_beside_the_users_own() -> None:
    wanted = made(labels={"team": "shop"})
    service = wanted.service("green", 4, "2026-01-01T00:00:00.000000+00:00")

    assert (service["name"], service["replicas"], service["resolve_image"]) == ("web-green", 4, False)
    assert service["labels"] == {
        "team": "shop",
        "zdd.rollout.group": "web",
        "zdd.rollout.colour": "green",
        "zdd.rollout.version": "7",
        "zdd.rollout.definition": wanted.hash(),
        "zdd.rollout.deployed_at": "2026-01-01T00:00:00.000000+00:00",
    }


def test_the_idle_colour_is_updated_all_at_once_unless_the_user_says_otherwise() -> None:
    own = made(update_config={"parallelism": 2}).service("blue", 1, "")["update_config"]

    assert made().service("blue", 1, "")["update_config"] == {"parallelism": 0, "order": "stop-first"}
    assert own == {"parallelism": 2, "order": "stop-first"}


def test_each_colour_gets_its_fixed_port() -> None:
    wanted = made({"published_ports": {"blue": 8001, "green": "8002"}})

    assert wanted.service("blue", 1, "")["publish"] == [{"target_port": 8000, "mode": "host", "published_port": 8001}]
    assert wanted.service("green", 1, "")["publish"][0]["published_port"] == 8002


REFUSED = [
    ({"imagine": "x"}, "imagine"),
    ({"publish": [{"target_port": 8000, "mode": "host", "port": 1}]}, "port"),
    ({"image": None}, "no image"),
    ({"name": "-web"}, "name of the group"),
    ({"name": "w" * 58}, "at most 57"),
    ({"mode": "global"}, "mode global"),
    ({"replicas": 0}, "0 replicas"),
    ({"state": "absent"}, "swarm_dispose"),
    ({"force_update": True}, "renew"),
    ({"publish": []}, "no TCP port"),
    ({"publish": [{"target_port": 8000}]}, "mode ingress; it has to be host"),
    ({"publish": [{"target_port": 8000, "mode": "ingress"}]}, "ingress mesh"),
    ({"publish": [{"target_port": 8000, "mode": "host"}, {"target_port": 9000, "mode": "host"}]}, "target_port"),
    ({"publish": [{"target_port": 8000, "mode": "host", "published_port": 80}]}, "fixed port 80"),
    (
        {"publish": [*PUBLISHED, {"target_port": 53, "protocol": "udp", "published_port": 53}]},
        "fixed port 53",
    ),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED, ids=[text for _fields, text in REFUSED])
def test_what_cannot_be_deployed_in_two_colours_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        made(**fields)


@pytest.mark.parametrize(
    "ports", [{"blue": 80}, {"blue": 80, "green": 80}, {"red": 1, "blue": 2}, {"blue": 0, "green": 9}]
)
def test_fixed_ports_that_are_not_one_for_each_colour_are_refused(ports: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="published_ports"):
        made({"published_ports": ports})


def test_in_an_overlay_network_nothing_is_published() -> None:
    there = Endpoint("overlay", 8000, "backend")

    assert made({"endpoint": there}, publish=[], networks=["backend"]).port_of("blue") is None
    assert made({"endpoint": there}, publish=[], networks=[{"name": "backend"}]).endpoint == there
    with pytest.raises(InvalidInput, match="has to be among them"):
        made({"endpoint": there}, publish=[], networks=["front"])
    with pytest.raises(InvalidInput, match="target_port and network"):
        made({"endpoint": Endpoint("overlay", 8000)}, publish=[])
