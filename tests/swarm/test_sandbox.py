# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The swarm of the tests: its tasks are reached, its proxies run, and nothing of it is left, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.rehearsal.playbook import environment
from tests.sandbox import swarm as sandbox
from tests.sandbox.swarm import launch
from tests.sandbox.swarm.launch import Swarm

LIMIT = 60.0  # seconds for whatever is waited for

SERVED = """
server {
    listen 80;
    return 200 "served";
}
"""
PASSED = """
upstream tasks {
    server %s;
}
server {
    listen 80;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
    proxy_buffering off;
    location / {
        proxy_pass http://tasks;
    }
}
"""


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """The first result of ``look`` that is true."""
    deadline = time.monotonic() + LIMIT
    while not (found := look()):
        assert time.monotonic() < deadline, f"not yet: {what}"
        time.sleep(0.1)
    return found


@contextmanager
def running(swarm: Swarm, name: str, replicas: int, **env: str) -> Iterator[docker.APIClient]:
    """A service for the time of the ``with``, all of whose tasks run."""
    given = swarm.definition(name, "7", env=env)
    second = 1_000_000_000  # in nanoseconds, as the API counts
    container = docker.types.ContainerSpec(
        given["image"],
        command=given["command"],
        env=given["env"],
        mounts=[docker.types.Mount(each["target"], each["source"], "bind", read_only=True) for each in given["mounts"]],
        healthcheck=docker.types.Healthcheck(
            test=given["healthcheck"]["test"], interval=second, timeout=5 * second, start_period=30 * second
        ),
    )
    ports = [{"PublishMode": "host", "TargetPort": given["publish"][0]["target_port"], "Protocol": "tcp"}]
    with swarm.docker() as client:
        client.create_service(
            docker.types.TaskTemplate(container),
            name=name,
            mode=docker.types.ServiceMode("replicated", replicas),
            endpoint_spec=docker.types.EndpointSpec(ports=ports),
        )
        try:
            wait_for(lambda: len(tasks(client, name)) == replicas, f"{replicas} tasks of {name} run")
            yield client
        finally:
            client.remove_service(name)


def tasks(client: docker.APIClient, name: str) -> list[dict[str, Any]]:
    """The tasks of a service that run, and so are healthy."""
    found = client.tasks({"service": name, "desired-state": "running"})
    return [task for task in found if task["Status"]["State"] == "running"]


def urls(client: docker.APIClient, name: str) -> list[str]:
    hosts = {node["ID"]: node["Status"]["Addr"] for node in client.nodes()}
    return [
        f"http://{hosts[task['NodeID']]}:{task['Status']['PortStatus']['Ports'][0]['PublishedPort']}"
        for task in tasks(client, name)
    ]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_all_nodes_are_managers_so_that_one_can_be_lost(swarm: Swarm) -> None:
    with swarm.docker(2) as client:
        nodes = client.nodes()

    assert sorted(node["Status"]["Addr"] for node in nodes) == [node["address"] for node in swarm.nodes]
    assert {node["ManagerStatus"]["Reachability"] for node in nodes} == {"reachable"}


def test_the_tasks_of_a_service_are_reached_from_here_and_from_the_proxies(swarm: Swarm) -> None:
    with running(swarm, "reached", 4, HEALTHY_AFTER="1") as client:
        found = urls(client, "reached")
        from_here = [json.loads(get(url))["version"] for url in found]
        health = [get(f"{url}/health") for url in found]
        script = f"import urllib.request as r; print(len([r.urlopen(u, timeout=10) for u in {found}]))"
        from_a_proxy = subprocess.check_output([swarm.proxies[1]["python"], "-c", script], text=True, timeout=LIMIT)

    assert len(set(found)) == 4
    assert from_here == ["7"] * 4
    assert health == ["ok\n"] * 4
    assert from_a_proxy == "4\n"


def test_a_task_ends_on_sigterm_and_need_not_be_killed(swarm: Swarm) -> None:
    with running(swarm, "ended", 1) as client:
        status = tasks(client, "ended")[0]["Status"]["ContainerStatus"]
        for number in range(len(swarm.nodes)):
            with swarm.docker(number) as engine, contextlib.suppress(docker.errors.NotFound):
                engine.stop(status["ContainerID"], timeout=30)
                code = engine.inspect_container(status["ContainerID"])["State"]["ExitCode"]

    assert code == 128 + signal.SIGTERM


def test_there_is_no_way_out_of_the_networks(swarm: Swarm) -> None:
    script = "print([line.split()[1] for line in open('/proc/net/route')][1:])"
    routes = subprocess.check_output([swarm.proxies[0]["python"], "-c", script], text=True, timeout=LIMIT)

    assert len(routes.split(",")) == 1 and "'00000000'" not in routes, routes


@contextmanager
def configured(proxies: list[dict[str, Any]], text: str) -> Iterator[None]:
    """Each nginx has this configuration for the time of the ``with``."""
    try:
        for proxy in proxies:
            Path(proxy["config"]).write_text(text)
            os.kill(int(Path(proxy["pid_file"]).read_text()), signal.SIGHUP)
        yield
    finally:
        for proxy in proxies:
            Path(proxy["config"]).unlink()
            os.kill(int(Path(proxy["pid_file"]).read_text()), signal.SIGHUP)


def test_nginx_takes_a_configuration_and_a_signal(swarm: Swarm) -> None:
    proxy = swarm.proxies[0]
    with configured([proxy], SERVED):
        assert wait_for(lambda: served(proxy["live"]), "nginx serves") == "served"
    wait_for(lambda: not served(proxy["live"]), "nginx serves no more")


def test_clients_of_all_kinds_get_to_the_tasks_through_all_proxies(swarm: Swarm) -> None:
    with running(swarm, "used", 2) as client:
        servers = "; server ".join(url.removeprefix("http://") for url in urls(client, "used"))
        with configured(swarm.proxies, PASSED % servers):
            wait_for(lambda: all(served(url) for url in swarm.live), "all proxies serve")
            with swarm.traffic() as traffic:
                traffic.wait_until(lambda report: report["clients"]["stream"]["answered"] >= 2)

    assert traffic.versions() == {"7"}
    assert traffic.failed() == 0


def served(url: str) -> str:
    try:
        return get(url)
    except (urllib.error.URLError, ConnectionError):
        return ""


def test_haproxy_has_free_slots_for_live_and_preview(swarm_haproxy: Swarm) -> None:
    for proxy in swarm_haproxy.proxies:
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.settimeout(LIMIT)
            runtime.connect(proxy["socket"])
            runtime.sendall(b"show servers state\n")
            rows = runtime.makefile().read().splitlines()
        backends = [row.split()[1] for row in rows if " slot" in row]
        assert set(backends) == {"web", "web-preview"}
        for url in (proxy["live"], proxy["preview"]):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                get(url)


def test_ansible_gets_to_all_hosts_of_the_inventory(swarm: Swarm, tmp_path: Path) -> None:
    ansible = Path(sys.executable).with_name("ansible")
    command = [str(ansible), "all", "-i", str(swarm.inventory), "-m", "ansible.builtin.ping", "-o"]
    settings = tmp_path / "ansible.cfg"
    settings.write_text("[defaults]\n")
    done = subprocess.run(
        command, env=environment(settings), capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert done.stdout.count("SUCCESS") == 1 + len(swarm.nodes) + len(swarm.proxies), done.stdout + done.stderr


def test_bare_engines_are_in_no_swarm_and_live_beside_another_one(swarm: Swarm) -> None:
    with launch.start(bare=True, nodes=2, proxies=1) as bare:
        states = []
        for number in range(len(bare.nodes)):
            with bare.docker(number) as client:
                states.append(client.info()["Swarm"]["LocalNodeState"])
        addresses = {node["address"] for node in bare.nodes}

    assert states == ["inactive", "inactive"]
    assert addresses.isdisjoint(node["address"] for node in swarm.nodes)


@pytest.mark.parametrize("how", ["told", "front killed", "worker killed"])
def test_nothing_is_left(engine: None, how: str) -> None:
    """Neither processes, containers and their shims included, nor namespaces, interfaces, control groups or files."""
    with tempfile.TemporaryDirectory(prefix="zdd-") as folder:
        workdir = Path(folder)
        started = launch.start(nodes=1, proxies=1, workdir=folder)
        name = Path(started.nodes[0]["netns"]).name.removesuffix("-node1")
        with running(started, "left", 2) as client:
            mine = processes(workdir) | {
                client.inspect_container(each["Id"])["State"]["Pid"] for each in client.containers()
            }
            things = left(name, workdir)
            if how == "front killed":
                started.process.kill()
            elif how == "worker killed":
                os.kill(worker_of(started.process.pid), signal.SIGKILL)
            else:
                started.process.terminate()
        assert things and len(mine) > 5
        wait_for(
            lambda: not left(name, workdir) and not [pid for pid in mine if launch.alive(pid)], f"all of {name} is gone"
        )
        assert not processes(workdir)
        started.stop()


def worker_of(front: int) -> int:
    """The grandchild that runs the swarm."""
    for _generation in range(2):
        children = Path(f"/proc/{front}/task/{front}/children").read_text().split()
        front = int(children[0])
    return front


def processes(workdir: Path) -> set[int]:
    """Those that name the folder: engines, shims, proxies."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if str(workdir).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.add(int(path.parent.name))
    return found


def left(name: str, workdir: Path) -> list[str]:
    """Namespaces, interfaces, control groups and files of a sandbox."""
    places = {
        "/run/netns": f"{name}*",
        "/sys/class/net": name,
        "/sys/fs/cgroup": f"**/{name}",
        str(workdir): "run/*",
    }
    return [str(path) for folder, pattern in places.items() for path in Path(folder).glob(pattern)]


def test_an_engine_that_was_killed_comes_back_and_so_do_its_tasks(swarm: Swarm) -> None:
    with running(swarm, "killed", 3) as client:
        with swarm.engine_killed(1):
            assert not swarm.settled()
        assert swarm.settled()
        wait_for(lambda: len(tasks(client, "killed")) == 3, "all tasks run again")


def test_a_node_that_is_cut_off_is_missed_and_then_found(swarm: Swarm) -> None:
    with swarm.cut_off(2):
        wait_for(lambda: not swarm.settled(), "the node is missed")

    assert swarm.settled()


@pytest.mark.parametrize("kind", ["swarm", "swarm_haproxy"])
def test_a_proxy_that_was_killed_comes_back(engine: None, kind: str, request: pytest.FixtureRequest) -> None:
    running_one: Swarm = request.getfixturevalue(kind)
    proxy = running_one.proxies[1]
    before = Path(proxy["pid_file"]).read_text()

    with running_one.proxy_killed(1), pytest.raises(OSError, match="refused"):
        get(proxy["live"])

    assert Path(proxy["pid_file"]).read_text() != before


def test_the_folder_of_another_sandbox_is_left_alone(engine: None) -> None:
    with tempfile.TemporaryDirectory(prefix="zdd-") as folder:
        others = Path(folder) / "run" / "file"
        others.parent.mkdir()
        others.touch()

        with pytest.raises(launch.StartFailed, match="another sandbox"):
            launch.start(workdir=folder)

        assert others.exists()


def test_a_path_that_is_too_long_for_sockets_is_refused(engine: None) -> None:
    with pytest.raises(launch.StartFailed, match="too long"):
        launch.start(workdir=str(Path(tempfile.gettempdir(), "x" * 60)))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PATH", "")
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "docker.io" in str(sandbox.why_not())


def test_an_ordinary_user_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert sandbox.why_not() == "A Docker engine needs root."
