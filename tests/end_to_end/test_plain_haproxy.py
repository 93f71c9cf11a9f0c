# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same rollouts behind ordinary HAProxys: traffic by weights and states of servers, set by the runtime API."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations import haproxy_backend
from tests.end_to_end.stage import Service, all_from, long_connection, names, recap, wait_for
from tests.integration_py.haproxy_instance import free_port
from tests.integration_py.operating import operate
from tests.rehearsal.playbook import HOST
from tests.sandbox import launch
from tests.sandbox.clients import clients

STEPS = [{"instances": 1}, {"weight": 5, "bake": 0.5}, {"weight": 25, "bake": 0.5, "pause": True}, {"weight": 50}]


class Plain(Service):
    """One app behind the plain HAProxys of a sandbox of its own; its frontend is the only one there."""

    def __init__(self, sandbox: launch.Running, folder: Path, app_id: str, **definition: Any) -> None:
        super().__init__(sandbox, folder, app_id, 0, **definition)
        self.lbs = sandbox.plain_lbs
        self.reach(
            haproxy_socket=[lb["socket"] for lb in self.lbs],
            haproxy_master_socket=[lb["master_socket"] for lb in self.lbs],
        )

    def reach(self, **variables: Any) -> None:
        """Give these variables to the cluster's host."""
        given = {
            "marathon_url": self.sandbox.marathon,
            "bluegreen_lb_mode": "haproxy",
            "haproxy_backend": self.lbs[0]["backend"],
            **variables,
        }
        self.cluster.use({"all": {"hosts": {HOST: given}}})

    def urls(self, port: int | None = None) -> list[str]:
        return [lb["url"] for lb in self.lbs]

    def servers(self) -> list[int]:
        """How many servers each LB has."""
        sockets = [lb["socket"] for lb in self.lbs]
        found = operate(haproxy_backend, socket=sockets, backend=self.lbs[0]["backend"], servers=[])
        return [len(lb["servers"]) for lb in found["lbs"]]


@pytest.fixture
def sandbox() -> Iterator[launch.Running]:
    with launch.start(lbs=0, plain_lbs=2, agents=4) as running:
        yield running


@pytest.fixture
def app(sandbox: launch.Running, tmp_path: Path) -> Plain:
    made = Plain(sandbox, tmp_path, "/shop/web")
    made.deploy("1")
    return made


def test_blue_green_and_back(app: Plain) -> None:
    with app.traffic() as traffic:
        run = app.deploy("2")
        assert (run.result, names(run)) == (
            "promoted",
            ["create", "healthy", "switched", "drained", "retire"],
        )
        assert all_from(traffic, "2")
        assert app.servers() == [4, 4]
        again = app.deploy("2")
        assert (again.result, again.changed) == ("unchanged", 0), again.output
        assert app.deploy("3", bluegreen_keep_old=True).result == "kept"
        assert all_from(traffic, "3")
        back = app.play("rollback", "3")
        assert back.result == "rolled back", back.output
        assert all_from(traffic, "2")
        assert app.counts() == {"2": 4}
        assert app.servers() == [4, 4]


def test_a_canary_by_weight_up_to_everything(app: Plain) -> None:
    with app.traffic() as traffic:
        plan = app.rehearse("canary", "2", canary_steps=STEPS)
        assert "5 % of the traffic go to /shop/web-green" in plan.output
        paused = app.play("canary", "2", canary_steps=STEPS)
        assert (paused.code, paused.result) == (0, "paused"), paused.output
        assert app.counts() == {"1": 4, "2": 1}
        again = app.play("canary", "2", canary_steps=STEPS)
        assert (again.result, again.changed) == ("paused", 0), again.output
        promoted = app.play("promote", "2", canary_steps=STEPS)
        assert (promoted.code, promoted.result) == (0, "promoted"), promoted.output
        assert all_from(traffic, "2")
        assert app.counts() == {"2": 4}


def test_the_split_by_weight_is_exact(app: Plain) -> None:
    """Within one percentage point, over two thousand requests at each LB."""
    assert app.play("canary", "2", canary_steps=[{"weight": 5, "pause": True}]).result == "paused"
    with clients(app.urls(), ("get",), 300.0) as traffic:
        traffic.wait_until(lambda report: report["clients"]["get"]["sent"] >= 4000, 60.0)
        report = traffic.stop()
    for url in app.urls():
        seen = {row["version"]: row["count"] for row in report["versions"] if row["url"] == url}
        assert sum(seen.values()) >= 1900
        assert abs(100 * seen["2"] / sum(seen.values()) - 5) <= 1, seen


def test_a_canary_that_fails_its_users_is_aborted(app: Plain) -> None:
    bad = app.definition("2", environment={"ERROR_RATE": "0.3"})
    with clients(app.urls(), rate=60.0) as traffic:
        traffic.wait_until_flowing()
        run = app.play("canary", bad, canary_steps=[{"weight": 20}], canary_analysis={"wait_timeout": 60})
        assert run.result == "rolled back", run.output
        assert all_from(traffic, "1")
        traffic.stop()
    causes = {cause for kind in traffic.causes().values() for cause in kind}
    assert causes == {"status_500"}, json.dumps(traffic.report()["failures"][:10])
    assert (app.counts(), app.servers()) == ({"1": 4}, [4, 4])


def test_batches_where_there_is_no_room_for_two_versions(app: Plain) -> None:
    with app.traffic() as traffic:
        with app.counted() as most:
            run = app.deploy("2", bluegreen_batch_size="2")
        assert run.result == "promoted"
        assert names(run).count("reduce") == 1
        assert most["instances"] <= 6
        assert all_from(traffic, "2")
        assert (app.counts(), app.servers()) == ({"2": 4}, [4, 4])


def test_a_drain_that_does_not_end_is_held_and_goes_on_later(app: Plain) -> None:
    with long_connection(app.urls()[0]) as stream:
        held = app.play("bluegreen", "2", bluegreen_drain_timeout=1, bluegreen_haproxy_persistence_timeout=0.5)
        assert (held.code != 0, held.result) == (True, "held"), held.output
        assert stream.whole
        assert app.counts() == {"1": 4, "2": 4}
    assert app.deploy("2").result == "promoted"
    assert app.counts() == {"2": 4}


def test_a_drain_that_does_not_end_is_cut_where_that_is_wanted(app: Plain) -> None:
    """Once, and only what is still open: of a whole version, and of a version in two batches."""
    wanted = {"bluegreen_on_drain_timeout": "cut", "bluegreen_drain_timeout": 1}
    for version, batches in (("2", "100%"), ("3", "2")):
        with long_connection(app.urls()[0]) as stream:
            run = app.deploy(version, bluegreen_haproxy_persistence_timeout=0.5, bluegreen_batch_size=batches, **wanted)
            assert (run.result, run.report["sessions_cut"]) == ("promoted", 1), run.output
            wait_for(lambda: not stream.whole, "the request has been cut")
        assert (app.counts(), app.servers()) == ({version: 4}, [4, 4])


@pytest.mark.parametrize("analysis", [{}, {"max_error_rate": 0.5, "wait_timeout": 20}], ids=["bake", "analysis"])
def test_an_lb_that_forgets_its_servers_in_the_bake_is_repaired(
    app: Plain, sandbox: launch.Running, analysis: dict[str, Any]
) -> None:
    """Its reload without a state file loses the dynamic servers: of both versions, for the moment until it is seen."""

    def forget() -> None:
        wait_for(lambda: set(app.counts()) == {"1", "2"}, "both versions are there")
        wait_for(lambda: app.servers() == [5, 5], "the canary is served")
        time.sleep(0.5)
        sandbox.fault("plain_lb_reload", lb=1, keep_state=False)

    thread = threading.Thread(target=forget, daemon=True)
    thread.start()
    with clients(app.urls(), ("get",), 100.0) as traffic:
        traffic.wait_until_flowing()
        run = app.play("canary", "2", canary_steps=[{"weight": 10, "bake": 4, "pause": True}], canary_analysis=analysis)
        thread.join(30)
    assert run.result == "paused", run.output
    assert app.servers() == [5, 5]


def test_another_host_may_have_the_sockets(app: Plain) -> None:
    """Ansible runs there what talks to them: here another Python of this machine, without the libraries."""
    given = app.cluster.inventory.read_text()
    inventory = json.loads(given)["all"]["hosts"]
    inventory[HOST]["bluegreen_haproxy_hosts"] = ["lb1"]
    inventory["lb1"] = {"ansible_connection": "local", "ansible_python_interpreter": sys._base_executable}
    app.cluster.use({"all": {"hosts": inventory}})
    with app.traffic() as traffic:
        run = app.play("bluegreen", "2", bluegreen_hosts=HOST)
        assert run.result == "promoted", run.output
        assert all_from(traffic, "2")


def test_a_first_step_without_weight_bakes_without_users(app: Plain) -> None:
    """Warm and watched, and every request goes to the old version."""
    steps = [{"instances": 1, "bake": 1, "pause": True}, {"weight": 5}]
    with app.traffic() as traffic:
        run = app.play("canary", "2", canary_steps=steps)
        assert run.result == "paused", run.output
        assert all_from(traffic, "1")
    assert traffic.versions() == {"1"}


def test_going_back_does_not_wait_for_a_balancer_that_is_away(app: Plain, sandbox: launch.Running) -> None:
    steps = [{"weight": 50, "pause": True}]
    assert app.play("canary", "2", canary_steps=steps).result == "paused"
    sandbox.fault("plain_lb_down", lb=1)
    with clients(app.urls()[:1], ("get",), 100.0) as traffic:
        traffic.wait_until_flowing()
        back = app.play("rollback", "2", bluegreen_switch_timeout=2, bluegreen_drain_timeout=2)
        assert back.code != 0, back.output
        assert all_from(traffic, "1")
    assert app.counts() == {"1": 4, "2": 2}
    sandbox.clear_faults()
    assert app.play("rollback", "2").result == "rolled back"
    assert app.counts() == {"1": 4}


def test_a_balancer_that_forgets_all_before_the_old_version_is_removed_serves_again(
    app: Plain, sandbox: launch.Running, tmp_path: Path
) -> None:
    hook = tmp_path / "reload.yml"
    fault = json.dumps({"kind": "plain_lb_reload", "lb": 1, "keep_state": False})
    hook.write_text(
        "- name: Somebody reloads a load balancer\n"
        "  ansible.builtin.uri:\n"
        f"    url: {sandbox.control}/faults\n    method: POST\n    body: '{fault}'\n    body_format: json\n"
        "- name: The new worker is there\n  ansible.builtin.pause:\n    seconds: 1\n"
    )
    run = app.deploy("2", bluegreen_hooks={"retire": [str(hook)]})
    assert run.result == "promoted"
    assert (app.counts(), app.servers()) == ({"2": 4}, [4, 4])


def test_a_host_with_sockets_that_ssh_cannot_reach_is_a_failure_like_any_other(app: Plain, tmp_path: Path) -> None:
    """It goes away in the middle: the traffic comes back at the others, the lock is free, and a report says which."""
    away, lease, hook = tmp_path / "away", tmp_path / "lease", tmp_path / "hook.yml"
    hook.write_text(
        f"- ansible.builtin.file: {{path: {away}, state: touch}}\n"
        f'- ansible.builtin.copy: {{content: "{{{{ __bluegreen_lease }}}}", dest: {lease}}}\n'
    )
    there = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = json.loads(app.cluster.inventory.read_text())["all"]["hosts"]
    inventory[HOST]["bluegreen_haproxy_hosts"] = ["lb1", "lb2"]
    inventory["lb1"] = there
    inventory["lb2"] = {
        **there,
        "ansible_connection": f"{{{{ 'ssh' if '{away}' is file else 'local' }}}}",
        "ansible_host": "127.0.0.1",
        "ansible_port": free_port(),
    }
    app.cluster.use({"all": {"hosts": inventory}})
    with app.traffic(kinds=("get", "post")) as traffic:
        run = app.play("bluegreen", "2", bluegreen_hosts=HOST, bluegreen_hooks={"drained": [str(hook)]})
        assert (run.code != 0, run.result) == (True, "failed"), run.output
        assert "lb2: Ansible cannot reach this host" in run.report["failure"]
        assert recap(run, HOST)["unreachable"] == 0
        assert all_from(traffic, "1")
        away.unlink()
        assert float(lease.read_text()) >= 2 * (900 + 2 * 300), "the lock lasts for both hosts, one after the other"
        again = app.play("bluegreen", "2", bluegreen_hosts=HOST)
        assert again.result == "promoted", again.output
        assert all_from(traffic, "2")
