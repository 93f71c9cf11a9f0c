# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each operation gives the same result inside the controller's process and as an ordinary module.

``CASES`` is a table; one playbook runs each of them both ways against one sandbox. To cover another operation, add a
line. In the options, ``{marathon}``, ``{lb}``, ``{socket}`` and so on are filled in from the sandbox, and ``{way}`` is
another word each way, for a case that changes something: both ways then change something of their own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.zdd.rollout.plugins.module_utils._operations import marathon_app
from tests import collection_path
from tests.integration_py.operating import operate
from tests.sandbox import launch

SECRET = "hush/hush"
ENCODED = "hush%2Fhush"
WAYS = ("wayhere", "wayprocess")
NOWHERE = "http://127.0.0.1:9"

AT = {"marathon_url": "{marathon}"}
AT_LB = {"marathon_lb_url": "{lb}"}
AT_NGINX = {"name": "shop", "config": "/no/such/file.conf", "state_dir": "/no/such/folder"}


@dataclass(frozen=True)
class Case:
    """One task. ``counters``: a key of the result of which only the shape is compared, as its numbers move on."""

    name: str
    operation: str
    options: Mapping[str, Any]
    check_mode: bool = False
    counters: str | None = None


WEB = launch.APP
CASES = [
    Case("all apps", "marathon_app_info", AT),
    Case("one app with its versions", "marathon_app_info", {**AT, "app_id": "/live", "versions": "yes"}),
    Case("a password in the address", "marathon_app_info", {
        "marathon_url": "http://me:" + ENCODED + "@{marathon_host}",
    }),
    Case("a password in an address where nobody is", "marathon_app_info", {
        "marathon_url": f"http://me:{ENCODED}@127.0.0.1:9", "retry_timeout": 0,
    }),
    Case("a password", "marathon_app_info", {**AT, "url_username": "me", "url_password": SECRET}),
    Case("a vaulted password", "marathon_app_info", {**AT, "url_username": "me", "url_password": "{vaulted}"}),
    Case("a secret as the value of another option", "marathon_app_info", {
        **AT, "auth_token": SECRET, "app_id": SECRET,
    }),
    Case("a service account that is none", "marathon_app_info", {
        **AT, "dcos_service_account": {"uid": "me", "private_key": SECRET, "login_endpoint": NOWHERE + "/login"},
    }),
    Case("a login without its user", "marathon_app_info", {**AT, "url_password": SECRET}),
    Case("an option that is none", "marathon_app_info", {**AT, "no_such_option": SECRET, "url_password": SECRET}),
    Case("options that exclude each other", "marathon_app_info", {**AT, "app_id": "/a", "label": "a"}),
    Case("a value of a wrong type", "marathon_app_info", {**AT, "timeout": SECRET, "auth_token": SECRET}),
    Case("an option that is missing", "marathon_app_info", {}),
    Case("what would be created", "marathon_app", {**AT, "app": {**WEB, "id": "/new"}}, check_mode=True),
    Case("what would be scaled", "marathon_app", {**AT, "app_id": "live", "instances": "5"}, check_mode=True),
    Case("what is so already", "marathon_app", {**AT, "app": "{{ live }}"}),
    Case("a creation", "marathon_app", {**AT, "app": {**WEB, "id": "/{way}", "instances": 1}}),
    Case("tasks nobody knows", "marathon_tasks_delete", {**AT, "ids": ["a", "live.b"], "scale": True}),
    Case("another definition, without waiting", "marathon_app", {
        **AT, "wait": False, "app": {**WEB, "id": "/{way}", "instances": 1, "cmd": "sleep 1000"},
    }),
    Case("a change of what is locked", "marathon_app", {
        **AT, "app": {**WEB, "id": "/{way}", "instances": 1, "cmd": "sleep 2000"},
    }),
    Case("a deployment that would be undone", "marathon_deployment", {**AT, "app_id": "/{way}", "state": "rolled_back"},
         check_mode=True),
    Case("a deployment that is undone", "marathon_deployment", {**AT, "app_id": "/{way}", "state": "rolled_back"}),
    Case("a deployment that is over", "marathon_deployment", {**AT, "app_id": "/{way}"}),
    Case("a state that is none", "marathon_deployment", {**AT, "app_id": "/a", "state": "gone"}),
    Case("a removal", "marathon_app", {**AT, "app_id": "/{way}", "state": "absent"}),
    Case("a definition that Marathon rejects", "marathon_app", {**AT, "app": {"id": "/bad"}}),
    Case("a definition of wrong types", "marathon_app", {**AT, "app": {"id": "/bad", "instances": "two"}}),
    Case("a file that is not there", "marathon_app", {**AT, "src": "/no/such/file.json"}),
    Case("a Marathon that is away", "marathon_app", {
        "marathon_url": NOWHERE, "retry_timeout": 0.3, "app_id": "/a", "instances": 1,
    }),
    Case("nothing to do with no one", "marathon_app", AT),
    Case("a lock that would be taken", "rollout_lock", {
        **AT, "group": "web", "owner": "me", "process": "p",
    }, check_mode=True),
    Case("a lock that is taken", "rollout_lock", {**AT, "group": "{way}", "owner": "me", "process": "p"}),
    Case("a lock that somebody else has", "rollout_lock", {**AT, "group": "{way}", "owner": "you", "process": "q"}),
    Case("a lock that is given back", "rollout_lock", {
        **AT, "group": "{way}", "owner": "me", "process": "p", "state": "absent",
    }),
    Case("a lock in a swarm that is away", "rollout_lock", {
        "docker_host": "unix:///no/such/socket", "group": "web", "owner": "me", "process": "p", "retry_timeout": 0,
    }),
    Case("a service in a swarm that is away", "swarm_service_wait", {
        "docker_host": ["unix:///no/such/socket", "unix:///nor/this"], "name": "web-blue", "retry_timeout": 0,
        "wait_timeout": 0,
    }),
    Case("an endpoint without its network", "swarm_service_wait", {"name": "web-blue", "endpoint": "overlay"}),
    Case("a count that is none", "swarm_service_scale", {"name": "web-blue", "replicas": -1}),
    Case("a rollout in a swarm that is away", "swarm_bluegreen_plan", {
        "docker_host": "unix:///no/such/socket", "retry_timeout": 0, "proxies": [{"share": {"blue": 100}}],
        "service": {"name": "web", "image": "web:1", "publish": [{"target_port": 80, "mode": "host"}]},
    }),
    Case("a service that goes through the ingress mesh", "swarm_bluegreen_plan", {
        "proxies": [{"share": {"blue": 100}}],
        "service": {"name": "web", "image": "web:1", "publish": [{"target_port": 80}]},
    }),
    Case("what is live in a swarm that is away", "swarm_bluegreen_info", {
        "docker_host": "unix:///no/such/socket", "retry_timeout": 0,
    }),
    Case("a share above all of it", "swarm_bluegreen_split", {"name": "web", "colour": "blue", "share": 101}),
    Case("a copy of itself", "swarm_service_copy", {"name": "web-blue", "to": "web-blue"}),
    Case("a plan", "bluegreen_plan", {
        **AT, **AT_LB, "app": {**WEB, "id": "/shop", "portDefinitions": [{"port": 10001}]},
    }),
    Case("a plan of what is no goal", "bluegreen_plan", {**AT, **AT_LB, "goal": "sideways"}),
    Case("a new version that would be created", "bluegreen_create", {
        **AT, "group": "web", "app": {**WEB, "id": "/web-blue"},
    }, check_mode=True),
    Case("a new version beside nothing", "bluegreen_create", {
        **AT, "group": "web", "app": {**WEB, "id": "/web-green"}, "keep_app_id": "/web-blue",
    }),
    Case("a removal of what is not there", "bluegreen_retire", {**AT, **AT_LB, "group": "none", "app_id": "/none"}),
    Case("what zdd.py would be asked for", "zdd_input", {
        **AT, "json": "{zdd_json}", "new_instances": "1", "initial_instances": 1, "step_delay": 5, "force": True,
    }),
    Case("what zdd.py could not read", "zdd_input", {**AT, "json": "/no/such/file.json"}),
    Case("a hook before a kill", "zdd_pre_kill_hook", {
        **AT, "path": "/bin/true", "app_id": "live", "tasks": ["live.a"], "other_id": "/live",
    }),
    Case("a hook that is against it", "zdd_pre_kill_hook", {
        **AT, "path": "/bin/false", "app_id": "live", "tasks": ["live.a"], "other_id": "/live",
    }),
    Case("a hook that is not there", "zdd_pre_kill_hook", {
        **AT, "path": "/no/such/hook", "app_id": "live", "tasks": [], "other_id": "/live",
    }),
    Case("a split of the traffic", "bluegreen_split", {**AT, "group": "none", "app_id": "/none", "share": 5}),
    Case("a share that is none", "bluegreen_split", {**AT, "group": "none", "app_id": "/none", "share": 105}),
    Case("a rolling upgrade that would be done", "rolling_upgrade", {
        **AT, "app": {**WEB, "id": "/live", "env": {"VERSION": "2"}},
    }, check_mode=True),
    Case("a rolling upgrade of what is so already", "rolling_upgrade", {**AT, "app": "{{ live }}"}),
    Case("a rolling upgrade that is foretold", "rolling_preflight", {
        **AT, "app": {**WEB, "id": "/live", "env": {"VERSION": "2"}},
    }),
    Case("a rolling upgrade that can never end", "rolling_preflight", {
        **AT, "agents": 4, "app": {**WEB, "id": "/live", "constraints": [["hostname", "UNIQUE"]]},
    }),
    Case("a rolling upgrade on no agent", "rolling_preflight", {**AT, "agents": 0, "app": "{{ live }}"}),
    Case("a report", "rollout_report", {
        "plan": {"group": "g", "from": "1", "to": "2", "target": 3}, "started": 1, "ended": 2, "result": "promoted",
    }),
    Case("a report of many that cannot be written", "rollout_report", {
        "reports": [{"cluster": "east", "result": "failed", "failure": "no answer"}], "path": "/proc/none/report.html",
    }),
    Case("a report of nothing", "rollout_report", {}),
    Case("a decision at a barrier", "rollout_decision", {
        "moment": "let_in", "clusters": {"a": [{"group": "g", "result": "kept"}], "b": []}, "on_failure": "host",
    }),
    Case("hosts that become a swarm", "swarm_cluster_plan", {
        "managers": ["a", "b"], "workers": "c", "nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    }),
    Case("hosts that are in two swarms", "swarm_cluster_plan", {
        "managers": ["a"], "nodes": [{"name": "a"}, {"name": "b", "swarm": {"LocalNodeState": "locked"}}],
    }),
    Case("a group that is to be gone from an nginx that has none of it", "nginx_remove", {
        "name": "none", "config": "/no/such/zdd-none.conf", "state_dir": "/no/such/state", "pid_file": "/no/such/pid",
    }),
    Case("a group of a swarm that is away", "swarm_dispose_plan", {
        "docker_host": "unix:///no/such/socket", "name": "web", "retry_timeout": 0,
    }),
    Case("a group that is not there", "marathon_lb_switch", {**AT, **AT_LB, "group": "none", "app_id": "/none"}),
    Case("a watch of what is not there", "marathon_lb_watch", {
        **AT, **AT_LB, "group": "none", "app_id": "/none", "seconds": 0,
    }),
    Case("tasks that are admitted", "marathon_lb_wait", {**AT, **AT_LB, "app_id": "/live", "state": "admitted"}),
    Case("what clients see", "canary_check", {
        "urls": "{service}", "clients": "20", "version_header": "X-Version", "expect": {1: "100"},
    }),
    Case("what clients were not expected to see", "canary_check", {
        "urls": "{service}", "clients": 20, "version_jmespath": "version", "expect": {"2": 10, "1": 90},
        "tolerance": 5, "secret_headers": {"X-Token": SECRET},
    }),
    Case("clients at a load balancer that is away", "canary_check", {
        "urls": NOWHERE, "clients": 3, "version_regex": "v(.)",
    }),
    Case("a load balancer that is away", "marathon_lb_wait", {
        **AT, "marathon_lb_url": NOWHERE, "app_id": "/live", "state": "admitted", "retry_timeout": 0, "wait_timeout": 0,
    }),
    Case("a canary that is not watched", "canary_analysis", {
        "source": "command", "command": ["/no/such/command"], "prometheus_token": SECRET,
    }, check_mode=True),
    Case("a canary of which nobody tells", "canary_analysis", {
        "source": "prometheus", "prometheus_url": NOWHERE, "prometheus_username": "me", "prometheus_password": SECRET,
        "queries": {"canary_requests": "a", "canary_errors": "b", "baseline_requests": "c", "baseline_errors": "d"},
        "wait_timeout": 0,
    }, counters="failure"),
    Case("a canary by a limit that is none", "canary_analysis", {
        "socket": "{socket}", "canary_addresses": "127.0.0.1:1", "baseline_addresses": [], "alpha": 2,
    }),
    Case("a load balancer by its socket", "haproxy_info", {
        "socket": "{socket}", "backend": "live_10000",
    }, counters="lbs"),
    Case("a socket that is not there", "haproxy_info", {"socket": "/no/such/socket"}),
    Case("a server that would be drained", "haproxy_drain", {
        "socket": "{socket}", "backend": "live_10000", "server": "none",
    }, check_mode=True),
    Case("tasks without pending operations", "pending_operations_wait", {
        **AT, "app_id": "/live", "path": "/pending", "jmespath": "pending",
    }),
    Case("an endpoint that is not there", "pending_operations_wait", {
        **AT, "app_id": "/live", "path": "/none", "jmespath": "pending", "wait_timeout": 1,
    }),
    Case("a wait that is cut short, with its warning", "pending_operations_wait", {
        "urls": [NOWHERE], "jmespath": "pending", "wait_timeout": 0, "on_timeout": "cut",
    }),
    Case("checks of tasks", "tasks_check", {**AT, "app_id": "/live", "checks": [{"path": "/health"}]}),
    Case("a check that fails on a secret", "tasks_check", {
        "urls": "{lb}", "checks": [{"path": "/" + SECRET}], "secret_headers": {"X-Token": SECRET},
    }),
    Case("a password for the statistics", "haproxy_info", {
        "stats_url": "{lb}", "lb_username": "me", "lb_password": SECRET, "backend": SECRET,
    }),
    Case("the servers of a backend", "haproxy_backend", {
        "socket": "{socket}", "backend": "live_10000",
    }, counters="lbs"),
    Case("a server that would be added", "haproxy_backend", {
        "socket": ["{socket}"], "backend": "live_10000", "servers": [{"name": "a", "address": "127.0.0.1:9"}],
    }, check_mode=True, counters="lbs"),
    Case("a server that is added to no backend", "haproxy_server", {
        "socket": ["{socket}"], "backend": "none", "name": "a", "address": "127.0.0.1:9",
    }),
    Case("a server that is to lose its weight", "haproxy_server", {
        "socket": ["{socket}"], "backend": "live_10000", "name": "none", "weight": 0,
    }),
    Case("what a HAProxy lacks", "haproxy_preflight", {
        "socket": "{socket}", "backend": "live_10000", "sticky": True,
    }),
    Case("what a HAProxy has", "haproxy_preflight", {"socket": "{socket}", "backend": "live_10000"}),
    Case("servers that are not there, drained by address", "haproxy_drain", {
        "socket": ["{socket}"], "backend": "live_10000", "address": "127.0.0.1:9",
    }),
    Case("a health check of what is down", "healthcheck", {
        "group": "g", "targets": [{"name": "n", "url": NOWHERE, "timeout": "3", "from": "proxy"}], "attempts": 2,
        "secret_headers": {"X-Token": SECRET}, "webhook_url": f"{NOWHERE}/{SECRET}", "heartbeat_url": NOWHERE + "/x",
    }),
    Case("a health check that was made elsewhere", "healthcheck", {
        "measured": [{"name": "n", "state": "slow", "critical": "yes"}], "fail_on": "down",
    }),
    Case("a health check of nothing", "healthcheck", {}),
    Case("servers that are not there, drained", "haproxy_drain", {
        "socket": ["{socket}"], "backend": "live_10000", "server": ["none"],
    }),
    Case("an nginx that has no configuration yet", "nginx_info", {**AT_NGINX, "only_file": "yes"}),
    Case("an nginx that was never set up", "nginx_info", AT_NGINX),
    Case("an nginx whose traffic is to turn", "nginx_split", {**AT_NGINX, "colour": "green", "share": "20"}),
    Case("a share of an nginx that is none", "nginx_split", {**AT_NGINX, "colour": "green", "share": 105}),
    Case("a drain at an nginx of what is no address", "nginx_drain", {**AT_NGINX, "addresses": "nobody"}),
    Case("a configuration for an nginx that is none", "nginx_config", {**AT_NGINX, "content": "server {}"}),
    Case("a configuration that a HAProxy would load", "haproxy_config", {
        "socket": "{socket}", "config": "/no/such/haproxy.cfg", "content": "global\n  description @config@\n",
    }, check_mode=True),
    Case("a configuration that a HAProxy refuses", "haproxy_config", {
        "socket": "{socket}", "config": "/no/such/haproxy.cfg", "content": "globule\n  description @config@\n",
    }),
]  # fmt: skip


@pytest.fixture(name="outcome", scope="module")
def _outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    """The results by case and way, and all that was printed."""
    folder = tmp_path_factory.mktemp("both-ways")
    with launch.start() as sandbox:
        operate(marathon_app, marathon_url=sandbox.marathon, app=sandbox.app(id="/live"))
        yield play(folder, sandbox)


def play(folder: Path, sandbox: launch.Running) -> tuple[dict[str, Any], str]:
    places = {
        "marathon": sandbox.marathon[0],
        "marathon_host": sandbox.marathon[0].removeprefix("http://"),
        "lb": sandbox.lbs[0]["url"],
        "socket": sandbox.lbs[0]["socket"],
        "service": f"http://{sandbox.lbs[0]['host']}:10000",
        "zdd_json": str(folder / "zdd.json"),
    }
    (folder / "zdd.json").write_text(json.dumps({**WEB, "labels": {**WEB["labels"], "HAPROXY_DEPLOYMENT_GROUP": "w"}}))
    results = folder / "results.json"
    tasks = [task(number, case, way, places) for number, case in enumerate(CASES) for way in WAYS]
    names = [register(number, way) for number in range(len(CASES)) for way in WAYS]
    content = ", ".join(f"'{name}': {name}" for name in names)
    keep = {"ansible.builtin.copy": {"dest": str(results), "content": f"{{{{ {{{content}}} }}}}"}, "no_log": True}
    playbook = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {
                "ansible_python_interpreter": sys.executable,
                "live": sandbox.app(id="/live"),
            },
            "vars_files": [str(folder / "secrets.yml")],
            "tasks": [*tasks, keep],
        }
    ]
    (folder / "password").write_text("p")
    (folder / "play.yml").write_text(yaml.safe_dump(playbook))
    (folder / "secrets.yml").write_text(f"secret: {SECRET}\nencoded: {ENCODED}\nvaulted: {vaulted()}")
    ran = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-vvv", "--diff", "-i", "localhost,", str(folder / "play.yml")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collection_path.ensure()),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "password"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_DEVEL_WARNING": "false",
        },
    )
    printed = ran.stdout + ran.stderr
    assert ran.returncode == 0, printed[-5000:]
    return json.loads(results.read_text()), printed


def task(number: int, case: Case, way: str, places: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": f"{case.name} ({way})",
        f"zdd.rollout.{case.operation}": filled(case.options, {**places, "way": way}),
        "check_mode": case.check_mode,
        "ignore_errors": True,
        "register": register(number, way),
        # An environment of its own is what an action plugin cannot give: the module runs then.
        "environment": {"ZDD_WAY": way} if way == WAYS[1] else {},
    }


def register(number: int, way: str) -> str:
    return f"case_{number}_{way}"


def filled(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if value == "{vaulted}":
        return "{{ vaulted }}"
    if isinstance(value, str) and not value.startswith("{{"):
        for name, text in places.items():
            value = value.replace(f"{{{name}}}", text)
        # Ansible prints the lines of a playbook in which something fails, so secrets stand elsewhere, as they should.
        value = value.replace(SECRET, "{{ secret }}").replace(ENCODED, "{{ encoded }}")
    return value


def vaulted() -> str:
    """``SECRET`` as a vaulted string in YAML, in place of a plain one."""
    cipher = VaultLib().encrypt(SECRET, VaultSecret(b"p")).decode()
    return "!vault |\n" + "".join(f"          {line}\n" for line in cipher.splitlines())


def comparable(result: Mapping[str, Any], case: Case, way: str) -> Any:
    """The result without what differs from run to run: ids, times, addresses of tasks, and the way itself."""
    kept = {key: shape(value) if key == case.counters else value for key, value in result.items()}
    text = json.dumps(kept, sort_keys=True)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)?", "<time>", text)
    text = re.sub(r"in \d+ s", "in <n> s", text)
    return json.loads(text.replace(way, "<way>"))


def shape(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "number" if isinstance(value, (int, float)) else "text"


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_both_ways_give_one_result(outcome: tuple[dict[str, Any], str], number: int) -> None:
    results, _printed = outcome
    here, process = (comparable(results[register(number, way)], CASES[number], way) for way in WAYS)

    assert here == process


def test_each_case_ran_once_as_a_module(outcome: tuple[dict[str, Any], str]) -> None:
    _results, printed = outcome
    used = re.findall(r"Using module file \S*/plugins/modules/(\w+)\.py", printed)

    assert sorted(used) == sorted(case.operation for case in CASES)


def test_no_secret_is_printed_or_returned(outcome: tuple[dict[str, Any], str]) -> None:
    results, printed = outcome

    for text in (SECRET, ENCODED):
        assert text not in printed
        assert text not in json.dumps(results)


def test_the_cases_reach_what_they_are_for(outcome: tuple[dict[str, Any], str]) -> None:
    """So that equal results are not equal because nothing happened."""
    results, _printed = outcome
    by_name = {case.name: results[register(number, WAYS[0])] for number, case in enumerate(CASES)}

    assert by_name["a creation"]["tasks"]["settled"] == 1
    assert by_name["a removal"]["changed"]
    assert not by_name["what is so already"]["changed"]
    assert by_name["a change of what is locked"]["failure"]["code"] == "app_locked"
    assert by_name["a definition that Marathon rejects"]["failure"]["code"] == "rejected"
    assert by_name["a vaulted password"]["apps"]
    assert by_name["a lock that somebody else has"]["failed"]
    assert by_name["a rolling upgrade that is foretold"]["upgrade"]["steps"]
    assert by_name["a rolling upgrade that can never end"]["failure"]["code"] == "unfinishable"
    assert by_name["tasks that are admitted"]["fulfilled"]
    assert by_name["tasks without pending operations"]["fulfilled"]
    assert by_name["what clients see"]["msg"] == "Out of 20 clients 20 saw 1"
    assert by_name["what clients were not expected to see"]["failure"]["code"] == "unexpected_split"
    assert by_name["clients at a load balancer that is away"]["failure"]["code"] == "too_many_failures"
    assert by_name["a load balancer by its socket"]["lbs"]
    assert by_name["the servers of a backend"]["lbs"][0]["servers"]
    assert by_name["a server that would be added"]["changed"]
    assert by_name["what a HAProxy lacks"]["failure"]["code"] == "preflight_failed"
    assert by_name["what a HAProxy has"]["placement"] == "dynamic"
    assert by_name["a wait that is cut short, with its warning"]["warnings"]
    assert by_name["an nginx that has no configuration yet"]["addresses"] == {"blue": [], "green": []}
    assert by_name["an nginx that was never set up"]["failure"]["code"] == "not_found"
    assert by_name["a configuration that a HAProxy would load"]["reloaded"]
    assert by_name["a configuration that a HAProxy refuses"]["failure"]["code"] == "invalid_configuration"
    assert by_name["a check that fails on a secret"]["failure"]["code"] == "check_failed"
    assert by_name["a health check of what is down"]["failure"]["code"] == "unhealthy"
    assert by_name["a health check that was made elsewhere"]["state"] == "slow"
