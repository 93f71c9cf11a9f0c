# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from a rendered file."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._errors import InvalidInput
from ansible_collections.zdd.rollout.plugins.module_utils._nginx.configuration import (
    checked_address,
    finished,
    parsed,
)

TEXT = """# zdd.rollout {"group": "shop", "state_dir": "/state"}
upstream shop_blue {
    server 10.0.0.2:80 max_fails=1 fail_timeout=5s;
    server 10.0.0.1:80;
}
upstream shop_green {
    server 127.0.0.1:1 down;
}
server { return 200 '{"config":"@config@"}'; }
"""


def test_group_addresses_and_hash_are_found() -> None:
    found = parsed(finished(TEXT, "it"), "it")

    assert (found.group, found.state_dir) == ("shop", "/state")
    assert found.addresses == {"blue": ("10.0.0.1:80", "10.0.0.2:80"), "green": ()}
    assert found.hash == hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_changed_text_has_another_hash() -> None:
    assert finished(TEXT, "it")[-80:] != finished(TEXT.replace("10.0.0.1", "10.0.0.3"), "it")[-80:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "server {}",
        TEXT,  # no hash yet
        finished(TEXT, "it").replace('"group"', '"grup"'),
        finished(TEXT, "it").replace("# zdd.rollout {", "# zdd.rollout ["),
        finished(TEXT, "it").replace("shop_green", "other_green"),
        finished(TEXT, "it").replace('"shop"', '"a b"'),
    ],
)
def test_a_file_of_somebody_else_is_none(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parsed(text, "lb1: /etc/x.conf")
    assert raised.value.code == "foreign_configuration"
    assert "lb1: /etc/x.conf" in raised.value.message


def test_a_text_without_a_place_for_its_hash_is_refused() -> None:
    with pytest.raises(InvalidInput, match="@config@"):
        finished("server {}", "Option content")


@pytest.mark.parametrize(
    ("text", "address"), [("10.0.0.1:80", ("10.0.0.1", 80)), ("[fe80:0::1]:65535", ("fe80::1", 65535))]
)
def test_an_address_is_an_ip_address_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert checked_address(text) == address


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "web:80", "1:-1", ":80"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput, match="ip:port"):
        checked_address(text)
