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
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.controller import CALLBACKS, RUN_LIMIT, ask, changes
from tests.integration_py.haproxy_instance import Balancer
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


def plain(name: str, says: tuple[str, ...], **variables: Any) -> Case:
    """Behind an ordinary HAProxy, all of whose variables are right but those that are given."""
    reached = {"lb_mode": "haproxy", "haproxy_socket": "{admin}", "haproxy_backend": "web"}
    return Case(name, {f"bluegreen_{variable}": value for variable, value in {**reached, **variables}.items()}, says)


def steps(name: str, given: Any, *says: str) -> Case:
    return wrong(name, "bluegreen_canary_steps", given, *says)


def analysis(name: str, given: Any, *says: str) -> Case:
    both = {"bluegreen_canary_steps": [{"instances": 1, "bake": 20}], "bluegreen_canary_analysis": given}
    return Case(name, both, ("canary_analysis", *says))


LABELS = dict(launch.APP["labels"])
ONE_STEP = [{"instances": 1}]
QUERIES = dict.fromkeys(("canary_requests", "canary_errors", "baseline_requests", "baseline_errors"), "sum(x)")
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
    wrong("an unknown kind of LB", "bluegreen_lb_mode", "haprox", "haprox", "marathon_lb", "haproxy"),
    plain("no socket", ("haproxy_socket",), haproxy_socket=[]),
    plain("an empty socket", ("haproxy_socket",), haproxy_socket=""),
    plain("a socket that is not there", ("/no/such.sock", "no such file"), haproxy_socket="/no/such.sock"),
    plain("a socket that is a file", ("{folder}/list.json",), haproxy_socket="{folder}/list.json"),
    plain("a socket that refuses", ("127.0.0.1:9", "refused"), haproxy_socket="127.0.0.1:9"),
    plain("a socket that says nothing", ("{silent_host}",), haproxy_socket="{silent_host}"),
    plain("a socket of something else", ("{html_host}",), haproxy_socket="{html_host}"),
    plain("a socket without the level admin", ("{operator}", "level admin"), haproxy_socket="{operator}"),
    plain("a socket given twice", ("socket", "twice"), haproxy_socket=["{admin}", "{admin}"]),
    plain("too few master sockets", ("master_socket",), haproxy_socket=["{admin}", "{operator}"],
          haproxy_master_socket=["{master}"]),
    plain("no backend", ("haproxy_backend",), haproxy_backend=""),
    plain("a backend that is not there", ("wbe", "{admin}"), haproxy_backend="wbe"),
    plain("a backend whose servers cannot be changed", ("fixed", "balance"), haproxy_backend="fixed"),
    plain("slots that are not there", ("slot", "web"), haproxy_placement="template"),
    plain("an unknown placement", ("placement", "slots", "template"), haproxy_placement="slots"),
    plain("a port that the app has not", ("port", "7"), haproxy_port_index=7),
    plain("a port that is no number", ("haproxy_port_index", "first"), haproxy_port_index="first"),
    plain("hosts that nobody knows", ("haproxy_hosts", "lb-nowhere"), haproxy_hosts=["lb-nowhere"]),
    plain("an analysis at sockets that are elsewhere", ("canary_analysis", "haproxy_hosts"),
          haproxy_hosts=["case0"], canary_steps=ONE_STEP, canary_analysis={"alpha": 0.01}),
    plain("cookies where there are none", ("cookie",), sticky=True),
    plain("weights that go back", ("canary_steps", "step 2", "from 25 to 5"),
          canary_steps=[{"weight": 25}, {"weight": 5}]),
    plain("a weight past all", ("canary_steps", "step 1", "101"), canary_steps=[{"weight": 101}]),
    plain("a negative weight", ("canary_steps", "step 1", "-1"), canary_steps=[{"weight": -1}]),
    plain("a weight that is none", ("canary_steps", "step 1", "'much'"), canary_steps=[{"weight": "much"}]),
    plain("everything to too few", ("canary_steps", "step 1", "1 instances", "4"),
          canary_steps=[{"weight": 100, "instances": 1}]),
    steps("a weight behind marathon-lb", [{"weight": 5}], "step 1", "weight", "marathon-lb"),
    steps("counts that go back", [{"instances": 2}, {"instances": 1}], "step 2", "from 2 to 1"),
    steps("a canary of more than the app", [{"instances": 9}], "step 1", "9", "the app has 4"),
    steps("a canary of none", [{"instances": 0}], "step 1", "0", "at least 1"),
    steps("a share past all", [{"instances": "150%"}], "step 1", "150%"),
    steps("a step with an unknown key", [{"instances": 1, "weigth": 5}], "step 1", "weigth", "weight"),
    steps("a step that is no dictionary", ["25%"], "step 1", "25%"),
    steps("steps that are no list", {"instances": 1}, "list"),
    steps("steps that are no YAML", "[{instances: 1", "canary_steps", "from_yaml"),
    steps("a step that changes nothing", [{"instances": 1}, {"instances": 1}], "step 2"),
    steps("a negative bake of a step", [{"instances": 1, "bake": -1}], "step 1", "bake", "-1"),
    steps("a bake of a step in words", [{"instances": 1, "bake": "long"}], "step 1", "bake", "long"),
    steps("a pause that is no switch", [{"instances": 1, "pause": "perhaps"}], "step 1", "pause", "perhaps"),
    Case("steps and batches", {"bluegreen_canary_steps": ONE_STEP, "bluegreen_batch_size": "1"},
         ("canary_steps", "batch_size")),
    Case("cookies behind marathon-lb that are not asked for", {"bluegreen_sticky": True},
         ("sticky", "HAPROXY_0_STICKY")),
    analysis("an analysis with an unknown key", {"max_eror_rate": 0.01}, "max_eror_rate", "max_error_rate"),
    analysis("an analysis that is no dictionary", "quick", "dict"),
    analysis("an analysis that is a list", [0.01], "list"),
    analysis("an alpha below 0", {"alpha": -0.01}, "alpha", "-0.01"),
    analysis("an alpha of 1", {"alpha": 1}, "alpha", "1"),
    analysis("an alpha that is no number", {"alpha": "low"}, "alpha", "float"),
    analysis("a limit past all", {"max_error_rate": 1.5}, "max_error_rate", "1.5"),
    analysis("an unknown source", {"source": "graphite"}, "graphite", "prometheus"),
    analysis("Prometheus without queries", {"source": "prometheus", "prometheus_url": "http://prometheus.invalid"},
             "queries"),
    analysis("Prometheus without an address", {"source": "prometheus", "queries": QUERIES}, "prometheus_url"),
    analysis("Prometheus with half of the queries",
             {"source": "prometheus", "prometheus_url": "http://p.invalid", "queries": {"canary_requests": "x"}},
             "canary_errors"),
    analysis("a password of Prometheus without a name",
             {"source": "prometheus", "prometheus_url": "http://p.invalid", "queries": QUERIES,
              "prometheus_password": SECRET}, "prometheus_username"),
    analysis("a command that is none", {"source": "command"}, "command"),
    analysis("slow requests that HAProxy does not count", {"max_slow_share": 0.1}, "max_slow_share"),
    analysis("a negative deadline", {"wait_timeout": -1}, "wait_timeout", "-1"),
    analysis("an unknown choice of the analysis", {"on_inconclusive": "ask"}, "on_inconclusive", "ask", "hold"),
    analysis("a bake in the analysis", {"seconds": 5}, "seconds", "bake"),
]  # fmt: skip

# What somebody has put into the cluster: name of the group, colours of the ids, more labels.
LIVE = [
    ("odd", ["red"], {"HAPROXY_DEPLOYMENT_COLOUR": "red"}),
    ("third", ["a", "b", "c"], {}),
    ("mixed", ["blue", "green"], {}),
]


HAPROXY = """
backend web
  balance roundrobin
backend fixed
  balance static-rr
"""


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
        places |= stack.enter_context(haproxy())
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


@contextmanager
def haproxy() -> Iterator[dict[str, str]]:
    """An ordinary HAProxy with a backend that is fit and one that is not, and its sockets."""
    with tempfile.TemporaryDirectory() as folder, Balancer(Path(folder)) as balancer:
        balancer.start(HAPROXY)
        yield {"admin": balancer.socket, "operator": balancer.operator_socket, "master": balancer.master_socket}


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
