# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role swarm_proxy sets up a real nginx or HAProxy, and an nginx of another host learns of the tasks."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.zdd.rollout.plugins.module_utils._haproxy.runtime import Runtime
from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    haproxy_backend,
    haproxy_config,
    nginx_split,
)
from tests import collection_path
from tests.integration_py.haproxy_instance import Balancer, eventually, free_port
from tests.integration_py.nginx_instance import Nginx, Tasks, version_at
from tests.integration_py.operating import operate

ROLE = "zdd.rollout.swarm_proxy"


@dataclass(frozen=True)
class Ran:
    """A play that has run: how many tasks have changed something, whether it failed, what it printed."""

    changed: int
    failed: bool
    printed: str


def play(folder: Path, plays: list[dict[str, Any]], hosts: dict[str, dict[str, Any]], *arguments: str) -> Ran:
    """Run plays on hosts of an inventory that all are this machine."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {name: {**local, **variables} for name, variables in hosts.items()}}}
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "inventory.yml")]
    ran = subprocess.run(
        [*command, str(folder / "play.yml"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collection_path.ensure()),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_DEVEL_WARNING": "false",
            "LC_ALL": "C.UTF-8",
        },
    )
    printed = ran.stdout + ran.stderr
    return Ran(sum(map(int, re.findall(r" changed=(\d+)", printed))), ran.returncode != 0, printed)


def set_up(host: str, **variables: Any) -> list[dict[str, Any]]:
    """A play that sets up one load balancer."""
    role = {"role": ROLE, "vars": {"swarm_proxy_name": "shop", **variables}}
    return [{"hosts": host, "gather_facts": False, "roles": [role]}]


def bring(hosts: list[str], blue: list[str], green: list[str]) -> list[dict[str, Any]]:
    """What a rollout does in its middle, from the play of another host."""
    task = {
        "ansible.builtin.include_role": {"name": ROLE, "tasks_from": "upstreams"},
        "vars": {
            "swarm_proxy_host": "{{ item }}",
            "swarm_proxy_name": "shop",
            "swarm_proxy_addresses": {"blue": blue, "green": green},
        },
        "loop": hosts,
    }
    return [{"hosts": "cluster", "gather_facts": False, "connection": "local", "tasks": [task]}]


@pytest.fixture(name="work")
def _work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(name="nginx")
def _nginx() -> Iterator[Nginx]:
    with tempfile.TemporaryDirectory() as folder, Nginx(Path(folder)) as nginx:
        yield nginx


def variables(nginx: Nginx) -> dict[str, Any]:
    return {
        "swarm_proxy_install": "false",
        "swarm_proxy_absent_files": [],
        "swarm_proxy_config": str(nginx.config),
        "swarm_proxy_state_dir": str(nginx.state_dir),
        "swarm_proxy_status": f"{nginx.host}:{nginx.status_port}",
        "swarm_proxy_main_config": str(nginx.main_config),
        "swarm_proxy_pid_file": str(nginx.pid_file),
        "swarm_proxy_live_port": f"{nginx.host}:{nginx.live_port}",
        "swarm_proxy_preview_port": f"{nginx.host}:{nginx.preview_port}",
        "swarm_proxy_reload_timeout": "20",
    }


def test_an_nginx_is_set_up_once_and_keeps_what_a_rollout_has_set(work: Path, nginx: Nginx) -> None:
    with Tasks("1", 1) as blue, Tasks("2", 1) as green:
        hosts = {"lb1": variables(nginx), "cluster": {}}
        checked = play(work, set_up("lb1"), hosts, "--check")
        assert (checked.failed, checked.changed) == (False, 1), checked.printed
        assert not nginx.config.exists()
        assert play(work, set_up("lb1"), hosts).changed == 1
        assert version_at(nginx.url) == "502", "there are no tasks yet"

        brought = play(work, bring(["lb1"], blue.addresses, green.addresses), hosts)
        assert (brought.failed, brought.changed) == (False, 1), brought.printed
        assert (version_at(nginx.url), version_at(nginx.preview_url)) == ("1", "2")
        assert play(work, bring(["lb1"], blue.addresses, green.addresses), hosts).changed == 0
        operate(nginx_split, **nginx.at(), colour="green")

        workers = nginx.workers()
        again = play(work, set_up("lb1"), hosts)
        assert (again.failed, again.changed) == (False, 0), again.printed
        assert nginx.workers() == workers
        assert (version_at(nginx.url), version_at(nginx.preview_url)) == ("2", "1")


def test_another_status_port_keeps_the_tasks(work: Path, nginx: Nginx) -> None:
    with Tasks("1", 1) as blue:
        hosts = {"lb1": variables(nginx), "cluster": {}}
        assert play(work, set_up("lb1", swarm_proxy_addresses={"blue": blue.addresses}), hosts).changed == 1
        nginx.status_port = free_port()
        moved = play(work, set_up("lb1"), {"lb1": variables(nginx)})
        assert (moved.failed, moved.changed) == (False, 1), moved.printed
        assert version_at(nginx.url) == "1"


def test_a_rollout_brings_tasks_to_several_hosts_each_with_its_own_settings(work: Path, nginx: Nginx) -> None:
    with tempfile.TemporaryDirectory() as folder, Nginx(Path(folder)) as other, Tasks("1", 1) as blue:
        hosts = {"lb1": variables(nginx), "lb2": variables(other), "cluster": {}}
        brought = play(work, bring(["lb1", "lb2"], blue.addresses, []), hosts)
        assert (brought.failed, brought.changed) == (False, 2), brought.printed
        assert (version_at(nginx.url), version_at(other.url)) == ("1", "1")


def test_empty_texts_stand_for_the_defaults(work: Path, nginx: Nginx) -> None:
    """As a survey of AWX sends what nobody has filled in."""
    empty = ("sticky", "websocket", "read_timeout", "connect_timeout", "max_fails", "fail_timeout", "max_body_size")
    ran = play(work, set_up("lb1", **{f"swarm_proxy_{name}": "" for name in empty}), {"lb1": variables(nginx)})
    assert not ran.failed, ran.printed
    text = nginx.config.read_text()
    assert "proxy_read_timeout 60000ms;" in text and "client_max_body_size 0;" in text
    assert "~*^websocket$ upgrade;" in text


@pytest.mark.parametrize(
    "wrong",
    [{"swarm_proxy_sticky": "cookie"}, {"swarm_proxy_kind": "apache"}, {"swarm_proxy_state_dir": "/tmp/a b"}],
    ids=["sticky", "kind", "state_dir"],
)
def test_settings_that_cannot_be_used_are_named_before_anything_is_changed(
    work: Path, nginx: Nginx, wrong: dict[str, str]
) -> None:
    ran = play(work, set_up("lb1", **wrong), {"lb1": {**variables(nginx), **wrong}})
    assert ran.failed and ran.changed == 0
    assert next(iter(wrong)) in ran.printed
    assert not nginx.config.exists()


def test_what_nginx_refuses_fails_the_play_and_the_old_one_serves(work: Path, nginx: Nginx) -> None:
    with Tasks("1", 1) as blue:
        addresses = {"blue": blue.addresses, "green": []}
        hosts = {"lb1": variables(nginx)}
        play(work, set_up("lb1", swarm_proxy_addresses=addresses), hosts)
        broken = play(work, set_up("lb1", swarm_proxy_extra_live="no_such_directive on;"), hosts)
        assert broken.failed and 'unknown directive \\"no_such_directive\\"' in json.dumps(broken.printed)
        assert version_at(nginx.url) == "1"


# --- HAProxy


@dataclass
class Haproxy:
    """A HAProxy that runs with some configuration of its own, in master-worker mode."""

    folder: Path

    def __post_init__(self) -> None:
        self.balancer = Balancer(self.folder)
        self.live_port, self.preview_port, self.stats_port = (free_port() for _port in range(3))

    @property
    def config(self) -> Path:
        return self.folder / "haproxy.cfg"

    def variables(self, **others: Any) -> dict[str, Any]:
        return {
            "swarm_proxy_kind": "haproxy",
            "swarm_proxy_install": False,
            "swarm_proxy_config": str(self.config),
            "swarm_proxy_state_dir": str(self.folder / "state"),
            "swarm_proxy_socket": self.balancer.socket,
            "swarm_proxy_master_socket": self.balancer.master_socket,
            "swarm_proxy_pid_file": str(self.folder / "pid"),
            "swarm_proxy_live_port": f"127.0.0.1:{self.live_port}",
            "swarm_proxy_preview_port": f"127.0.0.1:{self.preview_port}",
            "swarm_proxy_stats": f"127.0.0.1:{self.stats_port}",
            "swarm_proxy_check_path": "/health",
            "swarm_proxy_check_interval": "0.2",
            "swarm_proxy_slots": "4",
            **others,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.live_port}"

    @property
    def preview_url(self) -> str:
        return f"http://127.0.0.1:{self.preview_port}"

    def pid(self) -> int:
        return int(Runtime.at(self.balancer.socket).info()["Pid"])

    def bring(self, backend: str, address: str) -> None:
        done = operate(
            haproxy_backend,
            socket=[self.balancer.socket],
            backend=backend,
            servers=[{"name": "one", "address": address}],
            placement="template",
            wait_timeout=20,
        )
        assert not done.get("failed"), done


@pytest.fixture(name="haproxy")
def _haproxy() -> Iterator[Haproxy]:
    with tempfile.TemporaryDirectory() as folder:
        haproxy = Haproxy(Path(folder))
        with haproxy.balancer:
            haproxy.balancer.start("")
            yield haproxy


def test_a_haproxy_is_set_up_ready_for_rollouts_and_a_reload_keeps_its_tasks(work: Path, haproxy: Haproxy) -> None:
    """The role itself runs haproxy_preflight on both backends."""
    hosts = {"lb1": haproxy.variables()}
    with Tasks("1", 1) as blue, Tasks("2", 1) as green:
        checked = play(work, set_up("lb1"), hosts, "--check")
        assert not checked.failed, checked.printed
        done = play(work, set_up("lb1"), hosts)
        assert not done.failed and done.changed == 2, done.printed
        haproxy.bring("shop", blue.addresses[0])
        haproxy.bring("shop-preview", green.addresses[0])
        assert (version_at(haproxy.url), version_at(haproxy.preview_url)) == ("1", "2")

        pid = haproxy.pid()
        again = play(work, set_up("lb1"), hosts)
        assert (again.failed, again.changed, haproxy.pid()) == (False, 0, pid), again.printed

        longer = play(work, set_up("lb1", swarm_proxy_read_timeout=120), hosts)
        assert (longer.failed, longer.changed) == (False, 1), longer.printed
        assert haproxy.pid() != pid
        assert (version_at(haproxy.url), version_at(haproxy.preview_url)) == ("1", "2")


def test_a_sticky_haproxy_is_ready_too(work: Path, haproxy: Haproxy) -> None:
    done = play(work, set_up("lb1", swarm_proxy_sticky="cookie STAY"), {"lb1": haproxy.variables()})
    assert not done.failed, done.printed
    with Tasks("1", 1) as blue:
        haproxy.bring("shop", blue.addresses[0])
        with urllib.request.urlopen(haproxy.url, timeout=10) as answer:
            assert answer.headers["Set-Cookie"].startswith("STAY=")


def test_what_haproxy_refuses_is_not_written(work: Path, haproxy: Haproxy) -> None:
    before, pid = haproxy.config.read_text(), haproxy.pid()
    ran = play(work, set_up("lb1", swarm_proxy_extra_global="no-such-keyword"), {"lb1": haproxy.variables()})
    assert ran.failed and "no-such-keyword" in ran.printed
    assert (haproxy.config.read_text(), haproxy.pid()) == (before, pid)


def configured(haproxy: Haproxy, port: int, timeout: float = 20) -> dict[str, Any]:
    """Run haproxy_config with a frontend at a port."""
    content = (
        f"global\n  description @config@\n  stats socket {haproxy.balancer.socket} level admin expose-fd listeners\n"
        "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
        f"frontend web\n  bind 127.0.0.1:{port}\n  http-request return status 200\n"
    )
    return operate(
        haproxy_config,
        socket=haproxy.balancer.socket,
        config=str(haproxy.config),
        content=content,
        pid_file=str(haproxy.folder / "pid"),
        wait_timeout=timeout,
    )


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False


def test_a_haproxy_that_cannot_load_a_configuration_has_the_old_one_back(haproxy: Haproxy) -> None:
    assert configured(haproxy, haproxy.live_port)["reloaded"]
    assert not configured(haproxy, haproxy.live_port)["changed"]
    before = haproxy.config.read_text()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        failed = configured(haproxy, taken.getsockname()[1], timeout=3)
    assert failed["failure"]["code"] == "reload_failed", failed
    assert haproxy.config.read_text() == before
    eventually(lambda: answers(haproxy.live_port))


def test_a_haproxy_that_does_not_run_is_said(haproxy: Haproxy) -> None:
    before = haproxy.config.read_text()
    haproxy.balancer.stop()
    assert configured(haproxy, haproxy.live_port)["failure"]["code"] == "not_running"
    assert haproxy.config.read_text() == before
