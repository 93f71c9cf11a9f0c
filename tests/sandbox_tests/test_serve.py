# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox as a process: what it prints, which addresses it takes, how it ends, which faults it can have."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy import stats
from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Runtime
from tests.sandbox import launch

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = json.loads((ROOT / "tests/recordings/marathon-lb-cases.json").read_text())


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except requests.ConnectionError:
            found = None
        if found or time.monotonic() > deadline:
            assert found, f"not within {seconds} s"
            return found
        time.sleep(0.02)


def command(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.sandbox", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deploy(sandbox: launch.Running, **overrides: Any) -> list[str]:
    """Deploy the test service and return its URL at each LB once that answers."""
    created = requests.post(f"{sandbox.marathon[0]}/v2/apps", json=sandbox.app(**overrides), timeout=30)
    assert created.status_code == 201, created.text
    urls = [f"http://{lb['host']}:10000" for lb in sandbox.lbs]
    for url in urls:
        until(lambda url=url: requests.get(url, timeout=5).status_code == 200)
    return urls


def ask(path: str, line: str) -> str:
    """The answers of a runtime socket to a line of commands."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(f"{line}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def processes_of(workdir: Path, host: str) -> list[str]:
    """The command lines of all processes that have to do with the sandbox: by its folder or by an agent's address."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and (str(workdir).encode() in said or f"HOST={host}".encode() in said):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


def test_an_app_is_served_by_every_lb() -> None:
    with launch.start(lbs=2) as sandbox:
        urls = deploy(sandbox)

        assert len(set(urls)) == 2
        assert [requests.get(url, timeout=5).headers["X-Version"] for url in urls] == ["1", "1"]
        assert all(lb["up"] and lb["changes"] >= 2 for lb in sandbox.lb_state())
        assert sandbox.requests()["by_agent"].keys() == {"marathon-lb", requests.utils.default_user_agent()}
        sandbox.forget_requests()
        assert sandbox.requests()["log"] == []


def test_it_listens_where_it_is_told_to() -> None:
    marathon, control = free_addresses("127.0.4.1", 2)
    (lb,) = free_addresses("127.0.4.2", 1)
    # Not pytest's folder: the path of a UNIX socket may have 108 bytes.
    with tempfile.TemporaryDirectory(prefix="sb") as short:
        folder = Path(short) / "new" / "folder"
        with launch.start(marathon=[marathon, "127.0.4.3:0"], lb=[lb], control=control, workdir=folder) as sandbox:
            assert sandbox.marathon[0] == f"http://{marathon}"
            assert len(sandbox.marathon) == 2
            assert [(each["url"], each["host"]) for each in sandbox.lbs] == [(f"http://{lb}", "127.0.4.2")]
            assert sandbox.control == f"http://{control}"
            assert sandbox.workdir == folder
            assert Path(sandbox.lbs[0]["config"]).is_relative_to(folder)


def free_addresses(host: str, count: int) -> list[str]:
    """Addresses that are free; of any ``host`` but 127.0.0.1, where outgoing connections may take them meanwhile."""
    probes = [socket.create_server((host, 0)) for _index in range(count)]
    addresses = [f"{host}:{probe.getsockname()[1]}" for probe in probes]
    for probe in probes:
        probe.close()
    return addresses


def test_lbs_on_one_host_share_the_service_ports() -> None:
    lbs = free_addresses("127.0.0.9", 2)
    with launch.start(lb=lbs) as sandbox:
        deploy(sandbox)

        assert [lb["url"] for lb in sandbox.lbs] == [f"http://{lb}" for lb in lbs]
        assert len({lb["tcp_socket"] for lb in sandbox.lbs}) == 2
        for url in lbs:
            until(lambda url=url: "web_10000" in requests.get(f"http://{url}/haproxy?stats;csv", timeout=30).text)
        reached = [requests.get("http://127.0.0.9:10000", timeout=30).status_code for _index in range(20)]
        assert set(reached) == {200}


def test_the_lb_follows_the_next_leader() -> None:
    with launch.start(marathon=["127.0.0.1:0", "127.0.0.2:0"]) as sandbox:
        deploy(sandbox, instances=1)
        sandbox.fault("leader_change", seconds=0.5)
        app = f"{sandbox.marathon[1]}/v2/apps/web"
        until(lambda: requests.put(app, json={"instances": 2}, timeout=30).ok)

        config = f"{sandbox.lbs[0]['url']}/_haproxy_getconfig"
        until(lambda: requests.get(config, timeout=30).text.count("  server ") == 2, seconds=60)


def test_two_sandboxes_live_side_by_side() -> None:
    with launch.start() as one, launch.start() as two:
        assert deploy(one, env={"VERSION": "one"}) != deploy(two, env={"VERSION": "two"})
        versions = [
            requests.get(f"http://{each.lbs[0]['host']}:10000", timeout=5).headers["X-Version"] for each in (one, two)
        ]
        assert versions == ["one", "two"]


@pytest.mark.parametrize("option", ["marathon", "lb", "control"])
def test_an_address_that_is_taken_gives_one_clear_line(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(launch.StartFailed) as caught:
            launch.start(**{option: address})

    assert str(caught.value) == f"sandbox: Cannot listen on {address}: Address already in use."


def test_a_network_belongs_to_one_sandbox() -> None:
    with launch.start(network="127.77.7") as sandbox:
        assert sandbox.agents[0]["host"].startswith("127.77.7.")
        with pytest.raises(launch.StartFailed, match=r"^sandbox: The network 127\.77\.7 belongs to another sandbox"):
            launch.start(network="127.77.7")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lb", "127.0.0.1:9090", "--lb", "127.0.0.1:9090"), "the addresses have to differ"),
        (("--marathon", "8080"), "expected HOST:PORT, got '8080'"),
        (("--network", "10.0.0"), "expected a network in 127.0.0.0/8, got '10.0.0'"),
        (("--http-credentials", "nobody"), "expected USER:PASSWORD"),
        (("--lbs", "0"), "expected a number from 1 to 64, got '0'"),
        (("--plain-lbs", "21"), "expected a number from 0 to 20, got '21'"),
    ],
)
def test_a_wrong_option_is_refused(arguments: tuple[str, ...], message: str) -> None:
    refused = command("serve", *arguments)

    assert refused.returncode == 2
    assert message in refused.stderr.splitlines()[-1]


def test_help_tells_of_every_fault_and_address() -> None:
    help_text = command("serve", "--help").stdout

    with launch.start() as sandbox:
        for key in vars(sandbox).keys() - {"process"}:
            assert f"\n  {key} " in help_text
        with pytest.raises(ValueError, match="There is no fault of the kind 'rain'") as caught:
            sandbox.fault("rain")
    for kind in str(caught.value).partition(": ")[2].rstrip(".").split(", "):
        assert f"{kind} {{" in help_text


@pytest.mark.parametrize(
    "end", ["SIGTERM", "SIGINT", "SIGKILL to the front", "SIGKILL to the worker", "SIGKILL to the guard"]
)
def test_nothing_is_left_however_it_ends(end: str) -> None:
    sandbox = launch.start()
    agent = sandbox.agents[0]["host"]
    deploy(sandbox, instances=8)
    front = sandbox.process.pid
    guard = int(Path(f"/proc/{front}/task/{front}/children").read_text())
    worker = next(
        pid
        for pid in map(int, Path(f"/proc/{guard}/task/{guard}/children").read_text().split())
        if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    pid = {"SIGKILL to the worker": worker, "SIGKILL to the guard": guard}.get(end, front)
    assert len(processes_of(sandbox.workdir, agent)) >= 4  # master, worker, tasks
    os.kill(pid, getattr(signal, end.split()[0]))

    until(lambda: not processes_of(sandbox.workdir, agent))
    status = sandbox.process.wait(30)
    assert status == {"SIGTERM": 0, "SIGINT": 0, "SIGKILL to the front": -signal.SIGKILL}.get(end, 128 + signal.SIGKILL)
    until(lambda: not sandbox.workdir.exists())
    sandbox.stop()


def test_it_ends_with_the_process_that_started_it() -> None:
    """Even when that is killed: the sandbox's standard input closes then."""
    script = (
        "from tests.sandbox import launch; import json, time; "
        "sandbox = launch.start(); print(json.dumps([str(sandbox.workdir), sandbox.agents[0]['host']]), flush=True); "
        "time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    workdir, agent = json.loads(starter.stdout.readline())
    starter.kill()
    starter.communicate()

    until(lambda: not processes_of(Path(workdir), agent) and not Path(workdir).exists())


def test_it_ends_while_it_starts() -> None:
    with tempfile.TemporaryDirectory() as workdir:
        command_line = [sys.executable, "-m", "tests.sandbox", "serve", "--network", "127.78.8", "--workdir", workdir]
        process = subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(0.2)
        process.terminate()

        process.wait(30)
        assert processes_of(Path(workdir), "127.78.8.101") == []


@pytest.mark.parametrize("options", [{}, {"dcos_auth": True}], ids=["basic", "dcos"])
def test_the_lb_knows_the_credentials(options: dict[str, Any]) -> None:
    with launch.start(http_credentials="bob:se:cret", **options) as sandbox:
        assert requests.get(f"{sandbox.marathon[0]}/v2/apps", timeout=30).status_code == 401
        headers = {}
        if options:
            login = requests.post(
                f"{sandbox.marathon[0]}/acs/api/v1/auth/login", json={"uid": "bob", "password": "se:cret"}, timeout=30
            )
            headers = {"Authorization": f"token={login.json()['token']}"}
        auth = None if options else ("bob", "se:cret")
        requests.post(f"{sandbox.marathon[0]}/v2/apps", json=sandbox.app(), auth=auth, headers=headers, timeout=30)

        until(lambda: requests.get(f"http://{sandbox.lbs[0]['host']}:10000", timeout=5).status_code == 200)


def test_an_lb_that_is_down_comes_back_as_it_was() -> None:
    with launch.start(lbs=2) as sandbox:
        down, up = deploy(sandbox)
        sandbox.fault("lb_down", lb=0)

        with pytest.raises(requests.ConnectionError):
            requests.get(down, timeout=5)
        assert requests.get(up, timeout=5).status_code == 200
        assert [lb["up"] for lb in sandbox.lb_state()] == [False, True]

        sandbox.clear_faults()
        until(lambda: requests.get(down, timeout=5).status_code == 200)
        sandbox.fault("lb_down", lb=1, seconds=0.5)
        assert [lb["up"] for lb in sandbox.lb_state()] == [True, False]
        until(lambda: requests.get(up, timeout=5).status_code == 200)


def test_the_other_faults_of_an_lb() -> None:
    with launch.start() as sandbox:
        deploy(sandbox, instances=1)
        lb = sandbox.lbs[0]["url"]
        before = sandbox.lb_state()[0]

        sandbox.fault("lb_reload")
        after = until(lambda: (state := sandbox.lb_state()[0])["reloads"] > before["reloads"] and state)
        assert after["changes"] == before["changes"]

        assert requests.get(f"{lb}/_haproxy_getpids", timeout=5).status_code == 200
        sandbox.fault("getpids_off")
        assert requests.get(f"{lb}/_haproxy_getpids", timeout=5).status_code == 503
        sandbox.clear_faults()
        assert requests.get(f"{lb}/_haproxy_getpids", timeout=5).status_code == 200

        sandbox.fault("lb_slow", delay=1.0)
        requests.put(f"{sandbox.marathon[0]}/v2/apps/web", json={"instances": 2}, timeout=30)
        until(lambda: requests.get(f"{sandbox.marathon[0]}/v2/apps/web", timeout=30).json()["app"]["tasksHealthy"] == 2)
        assert sandbox.lb_state()[0]["changes"] == before["changes"]
        until(lambda: sandbox.lb_state()[0]["changes"] > before["changes"])


def test_an_ordinary_haproxy_forgets_dynamic_servers_at_a_reload_and_slots_without_the_state_file() -> None:
    with launch.start(lbs=0, plain_lbs=2, plain_slots=2) as sandbox:
        lb, other = sandbox.plain_lbs
        runtime = Runtime.at(lb["socket"])
        commands = "set server web/slot1 addr 127.1.2.3 port 4567; set server web/slot1 state drain"

        def addresses() -> dict[str, str]:
            rows = stats.server_rows(runtime.table(), "lb", "show stat")
            return {name: row.address for (_backend, name), row in rows.items()}

        unused = {"slot1": "0.0.0.0:80", "slot2": "0.0.0.0:80"}
        assert (sandbox.lbs, addresses()) == ([], unused)
        ask(lb["socket"], f"add server web/added 127.1.2.3:4568; {commands}")
        assert addresses() == {"slot1": "127.1.2.3:4567", "slot2": "0.0.0.0:80", "added": "127.1.2.3:4568"}

        sandbox.fault("plain_lb_reload", keep_state=True)
        assert addresses() == {"slot1": "127.1.2.3:4567", "slot2": "0.0.0.0:80"}
        assert runtime.server_states("web") == {"slot1": "drain", "slot2": "maint"}
        sandbox.fault("plain_lb_reload")
        assert addresses() == unused

        ask(other["socket"], f"{commands}")
        sandbox.fault("plain_lb_down", lb=1)
        assert [state["up"] for state in sandbox.plain_lb_state()] == [True, False]
        with pytest.raises(ValueError, match=r"^The fault cannot be started"):
            sandbox.fault("plain_lb_reload", lb=1)
        sandbox.clear_faults()
        runtime = Runtime.at(other["tcp_socket"])
        assert addresses() == unused
        assert {worker.is_old for worker in Runtime.at(other["master_socket"]).workers()} == {False}


def test_a_sandbox_without_any_lb_is_refused() -> None:
    with pytest.raises(launch.StartFailed, match="argument --lbs: expected a number from 1 to 64, got '0'"):
        launch.start(lbs=0)


@pytest.mark.parametrize("fault", [{"kind": "lb_slow"}, {"kind": "lb_down", "lb": 5}, {"kind": "lb_down", "x": 1}])
def test_a_fault_that_makes_no_sense_is_refused(fault: dict[str, Any]) -> None:
    with launch.start() as sandbox, pytest.raises(ValueError, match=r"^The fault cannot be (read|started)"):
        sandbox.fault(**fault)


@pytest.mark.parametrize("case", CASES[:1] + CASES[-9:], ids=lambda case: case["about"])
@pytest.mark.parametrize("form", ["list", "object"])
def test_decide_prints_the_recorded_result(case: dict[str, Any], form: str, tmp_path: Path) -> None:
    apps = case["apps"] if form == "list" else {"apps": case["apps"]}
    file = tmp_path / "apps.json"
    file.write_text(json.dumps(apps))

    for shown in (command("decide", str(file)), command("decide", "-", text=json.dumps(apps))):
        assert (shown.returncode, json.loads(shown.stdout)) == (0, case["result"])


def test_decide_needs_nothing_but_the_standard_library() -> None:
    names = "aiohttp", "requests", "yaml", "dateutil", "ansible.module_utils"
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({names}))\n"
        "from tests.sandbox.__main__ import main; sys.exit(main(['decide', '-']))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, input="[]", capture_output=True, text=True, timeout=60, check=False
    )

    assert json.loads(shown.stdout) == {"servers": [], "frontends": ["marathon_http_appid_in"]}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"apps": {}}'])
def test_decide_says_what_it_cannot_read(text: str) -> None:
    shown = command("decide", "-", text=text)

    assert shown.returncode == 2
    assert len(shown.stderr.splitlines()) == 1
