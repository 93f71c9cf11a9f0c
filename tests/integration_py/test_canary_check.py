# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a real HAProxy see the split that there is: the operation and its playbook against the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zdd.rollout.plugins.module_utils._operations import (
    canary_check,
    marathon_app,
    marathon_lb_wait,
)
from tests import collection_path
from tests.integration_py.operating import operate
from tests.sandbox import launch

STATE = "2026-01-01T00:00:0{}"


@pytest.fixture(name="sandbox", scope="module")
def _sandbox() -> Iterator[launch.Running]:
    """Two load balancers, and two deployment groups of four 0.9 and one 1.0: at 10000, and at 10001 with cookies.

    The group at 10002 has a 2.0 that fails half of its requests.
    """
    with launch.start(lbs=2) as sandbox:
        deploy(sandbox, "web", 10000, {})
        deploy(sandbox, "stay", 10001, {"HAPROXY_0_STICKY": "true"})
        single(sandbox, "bad", 10002, {"VERSION": "2.0", "ERROR_RATE": "0.5"})
        yield sandbox


def deploy(sandbox: launch.Running, group: str, port: int, labels: dict[str, str]) -> None:
    for number, (version, instances) in enumerate([("0.9", 4), ("1.0", 1)]):
        started = {
            "HAPROXY_DEPLOYMENT_GROUP": group,
            "HAPROXY_DEPLOYMENT_STARTED_AT": STATE.format(number),
            "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "5",
            "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "1",
        }
        single(sandbox, f"{group}-{number}", port, {"VERSION": version}, instances, {**labels, **started})


def single(
    sandbox: launch.Running,
    name: str,
    port: int,
    env: dict[str, str],
    instances: int = 1,
    labels: dict[str, str] | None = None,
) -> None:
    app = sandbox.app(id=f"/{name}", instances=instances, env=env, portDefinitions=[{"port": port, "name": "http"}])
    app["labels"].update(labels or {})
    created = operate(marathon_app, marathon_url=sandbox.marathon, app=app)
    assert not created.get("failed"), created["msg"]
    admitted = operate(
        marathon_lb_wait,
        marathon_url=sandbox.marathon,
        marathon_lb_url=[lb["url"] for lb in sandbox.lbs],
        app_id=f"/{name}",
        state="admitted",
    )
    assert not admitted.get("failed"), admitted["msg"]


def urls(sandbox: launch.Running, port: int = 10000) -> list[str]:
    return [f"http://{lb['host']}:{port}/" for lb in sandbox.lbs]


def check(sandbox: launch.Running, port: int = 10000, **options: Any) -> dict[str, Any]:
    return operate(canary_check, urls=urls(sandbox, port), version_header="X-Version", **options)


def left(result: dict[str, Any]) -> dict[str, int]:
    split = result["split"] if "split" in result else result["failure"]["detail"]
    return {each["version"]: each["left"] for each in split["versions"]}


def test_a_hundred_clients_see_the_split_of_the_lab(sandbox: launch.Running) -> None:
    result = check(sandbox, expect={"0.9": 80, "1.0": 20})

    assert result["msg"] == "Out of 100 clients 80 saw 0.9 and 20 saw 1.0"


def test_another_split_than_expected_fails(sandbox: launch.Running) -> None:
    result = check(sandbox, expect={"0.9": 50, "1.0": 50})

    assert result["failure"]["code"] == "unexpected_split"
    assert "1.0 was expected at 50 %, seen at 20 %" in result["msg"]


def test_clients_stay_where_the_load_balancer_gives_cookies(sandbox: launch.Running) -> None:
    options = {"clients": 40, "requests_per_client": 4, "sticky_versions": ["0.9", "1.0"]}

    kept, moved = check(sandbox, 10001, **options), check(sandbox, 10000, **options)

    assert left(kept) == {"0.9": 0, "1.0": 0}
    assert moved["failure"]["code"] == "not_sticky"
    assert left(moved)["1.0"] > 0


def test_errors_are_counted_apart_by_the_version_that_they_come_from(sandbox: launch.Running) -> None:
    result = check(sandbox, 10002, clients=50, max_failures=25)

    failures = result["split"]["failures"]
    assert {(each["cause"], each["status"], each["version"]) for each in failures} == {("status", 500, "2.0")}
    assert sum(each["count"] for each in failures) == 25
    assert result["split"]["answered"] == 25
    assert check(sandbox, 10002, clients=50)["failure"]["code"] == "too_many_failures"


def test_a_load_balancer_that_is_away_is_a_failure_of_its_clients(sandbox: launch.Running) -> None:
    sandbox.fault("lb_down", lb=1, seconds=120)
    try:
        result = check(sandbox, clients=20)
    finally:
        sandbox.clear_faults()

    assert result["failure"]["detail"]["answered"] == 10
    assert sandbox.lbs[1]["host"] in result["msg"]


@pytest.mark.parametrize(("expect", "status"), [('{"0.9": 80, "1.0": 20}', 0), ('{"1.0": 70}', 2)])
def test_the_playbook_takes_what_surveys_send(
    sandbox: launch.Running, tmp_path: Path, expect: str, status: int
) -> None:
    """All of it texts, empty ones where nothing was answered; in check mode, too."""
    answers = {
        "canary_check_urls": ",".join(urls(sandbox)),
        "canary_check_version_jmespath": "version",
        "canary_check_version_header": "",
        "canary_check_clients": "200",
        "canary_check_expect": expect,
        "canary_check_tolerance": "0",
        "canary_check_max_failures": "",
        "canary_check_validate_certs": "",
        "canary_check_hosts": "",
    }
    for mode in ([], ["--check"]):
        ran = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "zdd.rollout.canary_check",
             "-e", json.dumps(answers), *mode],
            capture_output=True, text=True, timeout=120, check=False,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(collection_path.ensure()),
                "ANSIBLE_LOCAL_TEMP": str(tmp_path),
                "ANSIBLE_HOME": str(tmp_path),
            },
        )  # fmt: skip

        assert ran.returncode == status, ran.stdout + ran.stderr
        assert "Out of 200 clients 160 saw 0.9 and 40 saw 1.0" in ran.stdout
        assert "changed=0" in ran.stdout
