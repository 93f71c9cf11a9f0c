# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the marathon-lb stand-in writes says what the real one's says, and HAProxy accepts it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import marathon_lb_decision as model
from tests.sandbox.marathon_lb.haproxy import haproxy_path
from tests.sandbox.marathon_lb.template import Place, configuration

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
CASES = json.loads((RECORDINGS / "marathon-lb-cases.json").read_text())
SINGLE = next(case["apps"][0] for case in CASES if case["about"].startswith("single app"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(host="127.0.0.1", stats_port=9090, app_id_port=9091, runtime_port=9999, folder=tmp_path)


def text_of(apps: list[dict[str, Any]], place: Place, *, stock_template: bool = False) -> str:
    return configuration(model.services(apps), place, stock_template=stock_template, nbthread=1)


def read_back(text: str) -> dict[str, Any]:
    """What HAProxy reads in ``text``, in the form of the recorded results."""
    servers, frontends, backend = [], [], ""
    for words in (line.split() for line in text.splitlines()):
        match words:
            case ["frontend", name]:
                frontends.append(name)
            case ["backend", name]:
                backend = name
            case ["server", name, address, *rest]:
                servers.append(
                    {
                        "backend": backend,
                        "server": name,
                        "address": address,
                        "disabled": "disabled" in rest,
                        "check": "check" in rest,
                        "cookie": "cookie" in rest,
                    }
                )
    return {"servers": servers, "frontends": frontends}


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_the_configuration_is_the_recorded_one(case: dict[str, Any], place: Place) -> None:
    if "error" in case["result"]:
        with pytest.raises(model.Undecidable) as caught:
            text_of(case["apps"], place)
        assert caught.value.error == case["result"]["error"]
    else:
        assert read_back(text_of(case["apps"], place)) == case["result"]


def relabelled(**labels: str) -> dict[str, Any]:
    return {**SINGLE, "labels": {**SINGLE["labels"], **labels}}


def backend_of(text: str) -> list[str]:
    return [line.strip() for line in text[text.index("\nbackend ") :].strip().splitlines()]


def test_haproxy_accepts_what_is_written(place: Place) -> None:
    text = text_of(
        [
            relabelled(
                HAPROXY_0_STICKY="true",
                HAPROXY_0_BALANCE="leastconn",
                HAPROXY_0_BACKEND_HEAD="\nbackend {backend}\n  balance {balance}\n  mode {mode}\n"
                "  load-server-state-from-file none\n",
            ),
            {**relabelled(HAPROXY_0_MODE="tcp", HAPROXY_0_PORT="10001"), "id": "/other"},
        ],
        place,
    )
    place.config.write_text(text)

    checked = subprocess.run([haproxy_path(), "-c", "-f", place.config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_backend_has_the_lines_of_the_real_one(place: Place) -> None:
    head = "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n  load-server-state-from-file none\n"
    text = text_of([relabelled(HAPROXY_0_BACKEND_HEAD=head, HAPROXY_0_STICKY="true")], place)

    lines = backend_of(text)
    assert lines[:4] == ["backend web_10000", "balance roundrobin", "mode http", "load-server-state-from-file none"]
    assert "option  httpchk GET /health" in lines
    assert "timeout check 2s" in lines
    assert "cookie mesosphere_server_id insert indirect nocache" in lines
    server = re.compile(
        r"server 127_0_0_1_31000 127\.0\.0\.1:31000 id \d+ check cookie [0-9a-f]{10} check inter 1s fall 4"
    )
    assert any(server.fullmatch(line) for line in lines)


def test_service_ports_are_bound_on_the_address_of_the_lb_only(place: Place) -> None:
    binds = re.findall(r"^  bind (\S+)$", text_of([SINGLE], place), re.MULTILINE)

    assert binds == ["127.0.0.1:9090", "127.0.0.1:9091", "127.0.0.1:10000"]


def test_only_the_recommended_template_closes_idle_connections_late(place: Place) -> None:
    option = "  option idle-close-on-response\n"
    recommended, stock = text_of([SINGLE], place), text_of([SINGLE], place, stock_template=True)

    assert option in recommended
    assert recommended.replace(option, "") == stock
