# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, ports, folders, constraints, and apps that this collection has not deployed."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.conftest import MakeService
from tests.end_to_end.stage import Service, all_from, names, wait_for

CONTAINER: dict[str, Any] = {"type": "MESOS"}


def there_and_back(app: Service) -> None:
    """Version 1, version 2 and back, without a failed request."""
    app.deploy("1")
    with app.traffic() as traffic:
        assert app.deploy("2", bluegreen_keep_old=True).result == "kept"
        assert all_from(traffic, "2")
        back = app.play("rollback", "2")
        assert back.code == 0 and back.result == "rolled back", back.output
        assert app.counts() == {"1": app.instances}
        assert all_from(traffic, "1")


def test_apps_in_a_bridge_network(service: MakeService) -> None:
    """Host ports of the agents, service ports in the container's mappings; one of these names no group of LBs."""
    app = service(instances=2)
    mappings = [
        {"containerPort": 8080 + number, "hostPort": 0, "servicePort": app.port + number, "name": name}
        for number, name in enumerate(("http", "admin"))
    ]
    app.base = {
        "networks": [{"mode": "container/bridge"}],
        "container": {**CONTAINER, "portMappings": mappings},
        "labels": {"HAPROXY_0_GROUP": "external", "HAPROXY_0_MODE": "http", "HAPROXY_1_MODE": "http"},
    }
    there_and_back(app)


def test_apps_in_a_container_network(service: MakeService) -> None:
    """Each task has an address of its own; checks and pending operations are asked there."""
    app = service(instances=2)
    mappings = [{"containerPort": 8080, "servicePort": app.port, "name": "http"}]
    network = {"mode": "container", "name": "dcos"}
    app.base = {"networks": [network], "container": {**CONTAINER, "portMappings": mappings}}
    app.deploy("1")
    assert all(task["ipAddresses"][0]["ipAddress"] != task["host"] for task in app.apps()[0]["tasks"])
    with app.traffic() as traffic:
        run = app.deploy(
            "2",
            bluegreen_checks=[{"path": "/", "jmespath": "version == '2'"}],
            bluegreen_pending_operations={"path": "/pending", "jmespath": "pending"},
            bluegreen_keep_old=True,
        )
        assert run.result == "kept"
        assert {"checked", "quiet"} <= set(names(run))
        back = app.play("rollback", "2")
        assert back.code == 0 and back.result == "rolled back", back.output
        assert all_from(traffic, "1")


def test_apps_with_several_service_ports_in_a_folder(service: MakeService) -> None:
    """Evidence is asked of all backends, and the traffic of all of them turns; each port names its group of LBs."""
    app = service(app_id="/shop/several/front", instances=2)
    names_of_groups = {"HAPROXY_0_GROUP": "external", "HAPROXY_1_GROUP": "external"}
    ports = [{"port": app.port, "name": "http"}, {"port": app.port + 1, "name": "admin"}]
    app.base = {
        "labels": {**names_of_groups, "HAPROXY_0_MODE": "http", "HAPROXY_1_MODE": "http"},
        "portDefinitions": ports,
    }
    app.deploy("1")
    with app.traffic() as traffic, app.traffic(port=app.port + 1) as admin:
        assert app.deploy("2", bluegreen_keep_old=True).result == "kept"
        assert all_from(traffic, "2") and all_from(admin, "2")
        turned = app.turned_to(f"{app.app_id}-green")
        assert min(clients.first_met("2") or 0 for clients in (traffic, admin)) > turned
        assert app.play("rollback", "2").result == "rolled back"
        assert all_from(traffic, "1") and all_from(admin, "1")


def test_apps_with_a_constraint_that_leaves_no_room(service: MakeService) -> None:
    """UNIQUE hosts with as many agents as instances: never touched; forward as healthy, back by reduction."""
    app = service(constraints=[["hostname", "UNIQUE"]])
    app.deploy("1")
    with app.traffic() as traffic:
        run = app.deploy("2", bluegreen_keep_old=True)
        assert run.result == "kept"
        assert "no room for one more instance" in run.output
        assert app.counts() == {"1": 4, "2": 4}
        assert all_from(traffic, "2")
        back = app.play("rollback", "2")
        assert back.code == 0 and back.result == "rolled back", back.output
        assert app.counts() == {"1": 4}
        assert all_from(traffic, "1")
        assert app.deploy("3").result == "promoted"
        assert app.counts() == {"3": 4}


def test_an_app_of_somebody_else_is_replaced_going_forward(service: MakeService) -> None:
    """It has the group's label only: the new version takes the traffic as it gets healthy, the old one is drained."""
    app = service()
    by_hand = app.definition("1")
    by_hand["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = app.group
    app.marathon("POST", "/v2/apps", {**by_hand, "id": f"{app.app_id}-old"})
    wait_for(app.served, "every LB serves it")
    with app.traffic() as traffic:
        run = app.deploy("2", bluegreen_group=app.group)
        assert run.result == "promoted"
        assert app.counts() == {"2": 4}
        assert all_from(traffic, "2")
        assert app.deploy("3", bluegreen_group=app.group, bluegreen_keep_old=True).result == "kept"
        assert app.play("rollback", "3", bluegreen_group=app.group).result == "rolled back"
        assert all_from(traffic, "2")
