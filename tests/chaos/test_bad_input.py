# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user can get wrong: each gets one message that says what is wrong and where, before anything is changed."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.controller import CALLBACKS, RUN_LIMIT, ask, changes
from tests.rehearsal.playbook import environment
from tests.sandbox import launch

pytestmark = pytest.mark.serial

SECRET = "hush-hush-4711"
REFUSED = "http://127.0.0.1:9"
UNKNOWN_HOST = "http://nowhere.invalid:8080"

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Variables of one inventory host, and what its one message has to say."""

    name: str
    variables: Mapping[str, Any]
    says: tuple[str, ...]


def wrong(name: str, variable: str, value: Any, *says: str) -> Case:
    return Case(name, {variable: value}, (variable.removeprefix("bluegreen_"), *says))


def definition(name: str, says: tuple[str, ...], without: str | None = None, **fields: Any) -> Case:
    app = {**launch.APP, "id": "/shop", "portDefinitions": [{"port": 10500}], **fields}
    return Case(name, {"bluegreen_app": {key: value for key, value in app.items() if key != without}}, says)


LABELS = dict(launch.APP["labels"])
CASES = [
    wrong("a batch that is no number", "bluegreen_batch_size", "many", "'many'", "3", "25%"),
    wrong("a batch of none", "bluegreen_batch_size", "0", "'0'", "at least 1"),
    wrong("a batch of more than all", "bluegreen_batch_size", "150%", "'150%'"),
    wrong("a choice that is none", "bluegreen_on_drain_timeout", "maybe", "maybe", "hold", "cut", "fail"),
    wrong("a negative time for drains", "bluegreen_drain_timeout", -1, "-1"),
    wrong("a negative time for health", "bluegreen_healthy_timeout", "-5", "-5"),
    wrong("a negative time for the switch", "bluegreen_switch_timeout", -1, "-1"),
    wrong("a negative time for offers", "bluegreen_offer_timeout", -1, "-1"),
    wrong("a negative time for removal", "bluegreen_retire_timeout", -1, "-1"),
    wrong("a negative time for requests", "bluegreen_timeout", -1, "-1"),
    wrong("a negative time for repetitions", "bluegreen_retry_timeout", -1, "-1"),
    wrong("a negative bake", "bluegreen_bake_seconds", -5, "-5"),
    wrong("a negative lease", "bluegreen_lock_lease", -5, "-5"),
    wrong("a bake that is no number", "bluegreen_bake_seconds", "long", "float"),
    wrong("a time that is no number", "bluegreen_healthy_timeout", "soon", "float"),
    wrong("a switch that is no switch", "bluegreen_keep_old", "perhaps", "perhaps"),
    wrong("a switch for certificates that is none", "bluegreen_validate_certs", "perhaps", "perhaps"),
    wrong("an unknown state", "bluegreen_fresh_state", "perhaps", "perhaps", "auto", "never"),
    wrong("a hook before no step", "bluegreen_hooks", {"deploy": ["x.yml"]}, "deploy", "retire"),
    wrong("a hook that is no list", "bluegreen_hooks", {"retire": "x.yml"}, "retire", "list"),
    wrong("a check with an unknown key", "bluegreen_checks", [{"pth": "/"}], "pth"),
    wrong("checks that are no list", "bluegreen_checks", "/health", "dict"),
    wrong("pending operations without an expression", "bluegreen_pending_operations", {"path": "/pending"},
          "jmespath", "metric"),
    wrong("a CA that is not there", "bluegreen_ca_path", "/no/such/ca.pem", "/no/such/ca.pem"),
    wrong("a key without its certificate", "bluegreen_client_key", "{folder}/inventory.json", "client_cert"),
    Case("no definition", {"bluegreen_app": {}}, ("app", "src")),
    Case("a definition and a file", {"bluegreen_app_src": "{folder}/list.json"}, ("app", "src")),
    Case("a file that is not there", {"bluegreen_app": "", "bluegreen_app_src": "/no/such/app.json"},
         ("src", "/no/such/app.json", "No such file")),
    Case("a file that is a folder", {"bluegreen_app": "", "bluegreen_app_src": "{folder}"}, ("src", "{folder}")),
    Case("a file that is neither", {"bluegreen_app": "", "bluegreen_app_src": "{folder}/broken.json"},
         ("{folder}/broken.json", "neither JSON nor YAML")),
    Case("a file with a list", {"bluegreen_app": "", "bluegreen_app_src": "{folder}/list.json"},
         ("{folder}/list.json", "mapping")),
    Case("a definition that is a list", {"bluegreen_app": [launch.APP]}, ("app", "list")),
    Case("a definition that is a text", {"bluegreen_app": "web"}, ("app", "dict")),
    definition("no id", ("id",), without="id"),
    definition("an id that is a number", ("id", "7"), id=7),
    definition("an id that Marathon refuses", ("id", "/Shop_1"), id="/Shop_1"),
    definition("no health check", ("/shop", "healthChecks"), without="healthChecks"),
    definition("health checks that are empty", ("/shop", "healthChecks"), healthChecks=[]),
    definition("health checks that are no list", ("healthChecks",), healthChecks={"path": "/"}),
    definition("no group of the LB", ("/shop", "HAPROXY_GROUP"), labels={}),
    definition("a label that is no text", ("labels",), labels={**LABELS, "HAPROXY_0_STICKY": True}),
    definition("labels that are a list", ("labels",), labels=["HAPROXY_GROUP"]),
    definition("no instances", ("/shop", "instances", "0"), instances=0),
    definition("negative instances", ("instances", "-1"), instances=-1),
    definition("instances in words", ("instances", "four"), instances="four"),
    definition("an unknown colour", ("/shop", "HAPROXY_DEPLOYMENT_COLOUR", "red", "blue", "green"),
               labels={**LABELS, "HAPROXY_DEPLOYMENT_COLOUR": "red"}),
    definition("a group with a space", ("HAPROXY_DEPLOYMENT_GROUP", "team shop"),
               labels={**LABELS, "HAPROXY_DEPLOYMENT_GROUP": "team shop"}),
    wrong("a group with a space in a variable", "bluegreen_group", "team shop", "team shop"),
    definition("no port", ("/shop", "port"), portDefinitions=[]),
    definition("an unknown colour in the group", ("/odd-red", "HAPROXY_DEPLOYMENT_COLOUR", "red", "blue"), id="/odd"),
    definition("a third app in the group", ("3 apps", "/third-a", "/third-b", "/third-c"), id="/third"),
    definition("a port of another app", ("port", "10077", "/elsewhere"), portDefinitions=[{"port": 10077}]),
    definition("start times that cannot be compared", ("HAPROXY_DEPLOYMENT_STARTED_AT",), id="/mixed"),
    Case("no Marathon", {"bluegreen_marathon_url": []}, ("marathon_url",)),
    Case("an empty Marathon", {"bluegreen_marathon_url": ""}, ("marathon_url",)),
    Case("a Marathon that is no address", {"bluegreen_marathon_url": "leader.mesos"}, ("marathon_url", "leader.mesos")),
    Case("a Marathon that refuses", {"bluegreen_marathon_url": REFUSED},
         ("Marathon", REFUSED, "GET /v2/apps", "refused")),
    Case("a Marathon that nobody knows", {"bluegreen_marathon_url": UNKNOWN_HOST},
         ("Marathon", UNKNOWN_HOST, "GET /v2/apps")),
    Case("a Marathon that says nothing", {"bluegreen_marathon_url": "{silent}"},
         ("Marathon", "{silent}", "GET /v2/apps", "timed out")),
    Case("what is no Marathon", {"bluegreen_marathon_url": "{html}"}, ("{html}", "GET /v2/apps", "JSON")),
    Case("a wrong password", {"bluegreen_url_password": f"wrong-{SECRET}"}, ("401", "url_password")),
    Case("no password", {"bluegreen_url_username": "", "bluegreen_url_password": ""}, ("401", "url_password")),
    Case("no LB", {"bluegreen_marathon_lb_url": []}, ("marathon_lb_url",)),
    Case("an empty LB", {"bluegreen_marathon_lb_url": ""}, ("marathon_lb_url",)),
    Case("an LB that refuses", {"bluegreen_marathon_lb_url": REFUSED}, ("127.0.0.1:9", "refused")),
    Case("an LB that nobody knows", {"bluegreen_marathon_lb_url": UNKNOWN_HOST}, ("nowhere.invalid",)),
    Case("an LB that says nothing", {"bluegreen_marathon_lb_url": "{silent}"},
         ("{silent_host}", "GET /", "nothing within 0.5 s")),
    Case("what is no LB", {"bluegreen_marathon_lb_url": "{html}"}, ("{html_host}",)),
]  # fmt: skip

# What somebody has put into the cluster: name of the group, colours of the ids, more labels.
LIVE = [
    ("odd", ["red"], {"HAPROXY_DEPLOYMENT_COLOUR": "red"}),
    ("third", ["a", "b", "c"], {}),
    ("mixed", ["blue", "green"], {}),
]


@dataclass(frozen=True)
class Outcome:
    failures: dict[str, list[str]] = field(repr=False)
    printed: str = field(repr=False)
    changes: list[str] = field(repr=False)
    places: dict[str, str] = field(repr=False)


@pytest.fixture(name="outcome", scope="module")
def _outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One playbook for all cases: each is a host of its own, with the variables of a sound rollout but for one."""
    folder = tmp_path_factory.mktemp("bad")
    with ExitStack() as stack:
        sandbox = stack.enter_context(launch.start())
        guarded = stack.enter_context(launch.start(http_credentials=f"me:{SECRET}"))
        places = {"folder": str(folder), **stack.enter_context(strange_servers())}
        prepare(folder, sandbox)
        yield play(folder, sandbox, guarded, places)


def prepare(folder: Path, sandbox: launch.Running) -> None:
    (folder / "list.json").write_text("[1, 2]")
    (folder / "broken.json").write_text("{a: [")
    for group, colours, labels in LIVE:
        for number, colour in enumerate(colours):
            started = f"2026-01-0{number + 1}T00:00:00" + ("+00:00" if group == "mixed" and number else "")
            own = {**LABELS, "HAPROXY_DEPLOYMENT_GROUP": group, "HAPROXY_DEPLOYMENT_STARTED_AT": started, **labels}
            body = sandbox.app(id=f"/{group}-{colour}", instances=0, labels=own, portDefinitions=[{"port": 0}])
            ask(sandbox, "POST", "/v2/apps", body)
    other = sandbox.app(id="/elsewhere", instances=0, portDefinitions=[{"port": 10077}])
    ask(sandbox, "POST", "/v2/apps", other)
    sandbox.forget_requests()


@contextmanager
def strange_servers() -> Iterator[dict[str, str]]:
    """A web server that is something else, and a port that accepts and says nothing."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html><body>It works!</body></html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        hosts = {
            "html_host": f"127.0.0.1:{server.server_port}",
            "silent_host": f"127.0.0.1:{silent.getsockname()[1]}",
        }
        yield {**hosts, "html": f"http://{hosts['html_host']}", "silent": f"http://{hosts['silent_host']}"}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        silent.close()


def play(folder: Path, sandbox: launch.Running, guarded: launch.Running, places: Mapping[str, str]) -> Outcome:
    hosts = {}
    for number, case in enumerate(CASES):
        own = guarded if "password" in case.name else sandbox
        hosts[f"case{number}"] = {
            "bluegreen_marathon_url": own.marathon,
            "bluegreen_marathon_lb_url": [lb["url"] for lb in own.lbs],
            "bluegreen_url_username": "me",
            "bluegreen_url_password": SECRET,
            "bluegreen_app": sandbox.app(id="/shop", portDefinitions=[{"port": 10500}]),
            "bluegreen_timeout": 0.5,
            "bluegreen_retry_timeout": 1,
            **filled(case.variables, places),
        }
    inventory, settings, failures = folder / "inventory.json", folder / "ansible.cfg", folder / "failures.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    settings.write_text("[defaults]\nforks = 4\n")
    env = environment(settings) | {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "failures",
        "CHAOS_FAILURES": str(failures),
    }
    command = [*ansible(), "-vvv", "--diff", "-i", str(inventory), "zdd.rollout.bluegreen"]
    ran = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=3 * RUN_LIMIT, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    printed = ran.stdout + ran.stderr
    (folder / "printed.txt").write_text(printed)
    assert failures.exists(), printed[-5000:]
    return Outcome(json.loads(failures.read_text()), printed, [*changes(sandbox), *changes(guarded)], dict(places))


def ansible() -> list[str]:
    return [sys.executable, "-m", "ansible", "playbook"]


def filled(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace(f"{{{name}}}", text)
    return value


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_what_is_wrong_is_told_in_one_message(outcome: Outcome, number: int) -> None:
    """The message names the option or the field, what was found and what is accepted; or system, request and answer."""
    failures = outcome.failures.get(f"case{number}", [])

    assert len(failures) == 1, failures
    missing = [text for text in filled(list(CASES[number].says), outcome.places) if text not in failures[0]]
    assert not missing, failures[0]


def test_nothing_was_changed(outcome: Outcome) -> None:
    """Not one request that changes anything was sent in all these runs, not even for a lock."""
    assert outcome.changes == []


def test_no_password_was_printed(outcome: Outcome) -> None:
    """Not with ``-vvv`` and ``--diff`` either."""
    lines = [line for line in outcome.printed.splitlines() if SECRET in line]
    assert not lines, lines[:3]
