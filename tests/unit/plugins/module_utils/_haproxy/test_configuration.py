# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a live configuration says about servers and about idle connections."""

from __future__ import annotations

import math

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import configuration

# What marathon-lb writes: its head template, a service of a deployment group, the frontend for app ids.
MARATHON_LB = """\
global
  log /dev/log local0
  spread-checks 5
defaults
  load-server-state-from-file global
  timeout connect          3s
  timeout client          30s
  timeout http-keep-alive  1s
  timeout http-request    15s
  option                  idle-close-on-response
listen stats
  bind 0.0.0.0:9090
  mode http
frontend marathon_http_appid_in
  bind *:9091
  mode http
frontend web_10000
  bind *:10000
  mode http
  use_backend web_10000
backend web_10000
  balance roundrobin
  mode http
  option httpchk GET /health
  timeout check 2s
  server 10_0_0_1_31001 10.0.0.1:31001 id 5 check inter 1s fall 4
  server 10_0_0_1_31002 10.0.0.1:31002 id 6 check inter 1s fall 4 disabled
backend db_10001
  mode tcp
  server 10_0_0_1_31003 10.0.0.1:31003 id 7
"""


def test_disabled_servers_are_found() -> None:
    found = configuration.parse(MARATHON_LB)
    assert found.disabled == {("web_10000", "10_0_0_1_31002")}
    assert found.servers["web_10000", "10_0_0_1_31001"].address == "10.0.0.1:31001"


def test_a_server_without_a_check_is_told_from_one_with() -> None:
    servers = configuration.parse(MARATHON_LB).servers
    assert servers["web_10000", "10_0_0_1_31001"].checked
    assert not servers["db_10001", "10_0_0_1_31003"].checked


def test_words_in_comments_and_quotes_are_no_options() -> None:
    found = configuration.parse(
        "backend b\n"
        "  server a 10.0.0.1:1 # disabled\n"
        "  server b 10.0.0.1:2 cookie 'x # y' disabled\n"
        '  server c 10.0.0.1:3 cookie "a disabled b"\n'
        "  # server d 10.0.0.1:4\n"
    )
    assert found.disabled == {("b", "b")}
    assert len(found.servers) == 3


def test_defaults_of_servers_count_until_they_are_changed() -> None:
    servers = configuration.parse(
        "backend b\n  server a h:1\n  default-server check disabled\n  server b h:2\n  server c h:3 no-check enabled\n"
    ).servers
    assert [(server.checked, server.disabled) for server in servers.values()] == [
        (False, False),
        (True, True),
        (False, False),
    ]


def test_the_keep_alive_of_marathon_lb_is_the_longest_of_its_http_frontends() -> None:
    assert configuration.keep_alive_seconds(MARATHON_LB) == 1
    assert configuration.keep_alive_seconds(MARATHON_LB.replace("bind *:10000", "timeout http-keep-alive 4s")) == 4


def test_without_the_option_idle_connections_are_closed_by_the_reload() -> None:
    assert configuration.keep_alive_seconds(MARATHON_LB.replace("option                  idle", "no option idle")) == 0
    assert configuration.parse(MARATHON_LB).keep_alive == 1


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [
        ("timeout http-keep-alive 500\n timeout client 1h", 0.5),
        ("timeout http-request 2m\n timeout client 1h", 120),
        ("timeout client 250ms", 0.25),
        ("timeout server 1s", math.inf),
        ("timeout client 1d\n timeout http-keep-alive 100us", 0.0001),
    ],
)
def test_haproxys_order_of_timeouts_and_its_units(timeouts: str, seconds: float) -> None:
    text = f"defaults\n option idle-close-on-response\n {timeouts}\nfrontend f\n mode http\n"
    assert configuration.keep_alive_seconds(text) == pytest.approx(seconds)


def test_frontends_take_the_defaults_before_them_or_those_they_name() -> None:
    text = (
        "defaults short\n mode http\n option idle-close-on-response\n timeout http-keep-alive 1s\n"
        "frontend a\n bind :1\n"
        "defaults long from short\n timeout http-keep-alive 9s\n"
        "frontend b from short\n bind :2\n"
    )
    assert configuration.keep_alive_seconds(text) == 1
    assert configuration.keep_alive_seconds(text + "frontend c\n bind :3\n") == 9


def test_services_in_mode_tcp_say_nothing_about_keep_alive() -> None:
    text = "defaults\n option idle-close-on-response\n timeout client 30s\nfrontend f\n mode tcp\n"
    assert configuration.keep_alive_seconds(text) == 0
