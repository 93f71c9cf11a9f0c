# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin as ``ansible-inventory`` and ``ansible-playbook`` use it, against two clusters of sandboxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.zdd.rollout.plugins.module_utils._operations import marathon_app, marathon_lb_wait
from tests import collection_path
from tests.integration_py.operating import operate
from tests.sandbox import launch

SECRET = "hush-hush"
CREDENTIALS = f"me:{SECRET}"
NOWHERE = "http://127.0.0.1:9"
Clusters = dict[str, launch.Running]


@pytest.fixture(name="clusters", scope="module")
def _clusters() -> Iterator[Clusters]:
    """Frankfurt runs the two colours of a shop, all traffic on green, and a worker; dublin runs its blue only, and
    wants a password.
    """
    with launch.start() as frankfurt, launch.start(http_credentials=CREDENTIALS) as dublin:
        deploy(frankfurt, "/web/shop-blue", "1", 2, started=1)
        deploy(frankfurt, "/web/shop-green", "2", 2, started=2)
        worker = frankfurt.app(id="/worker", instances=1, labels={"team": "{{ 6 * 7 }}"}, env={"PASSWORD": SECRET})
        created = operate(marathon_app, marathon_url=frankfurt.marathon, app=worker)
        assert not created.get("failed"), created["msg"]
        deploy(dublin, "/web/shop-blue", "1", 1, started=1, url_username="me", url_password=SECRET)
        yield {"frankfurt": frankfurt, "dublin": dublin}


def deploy(sandbox: launch.Running, app_id: str, version: str, instances: int, *, started: int, **login: str) -> None:
    app = sandbox.app(id=app_id, instances=instances, env={"VERSION": version, "PASSWORD": SECRET})
    app["labels"] |= {
        "team": "sales",
        "HAPROXY_DEPLOYMENT_GROUP": "web_shop",
        "HAPROXY_DEPLOYMENT_COLOUR": app_id.rpartition("-")[2],
        "HAPROXY_DEPLOYMENT_STARTED_AT": f"2026-01-0{started}T00:00:00",
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": str(instances),
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "0",
    }
    created = operate(marathon_app, marathon_url=sandbox.marathon, app=app, **login)
    assert not created.get("failed"), created["msg"]
    admitted = operate(
        marathon_lb_wait,
        marathon_url=sandbox.marathon,
        marathon_lb_url=[sandbox.lbs[0]["url"]],
        app_id=app_id,
        state="admitted",
        **login,
    )
    assert not admitted.get("failed"), admitted["msg"]


class Source:
    """A file of the plugin, and what Ansible makes of it."""

    def __init__(self, folder: Path, clusters: Clusters) -> None:
        self.folder = folder
        self.clusters = clusters
        self.path = folder / "shop.marathon.yml"
        (folder / "ansible.cfg").write_text("[inventory]\nany_unparsed_is_failed = true\n")
        (folder / "password").write_text("p")

    def write(self, **options: Any) -> None:
        """Both clusters unless the options say otherwise; dublin's password comes from the environment."""
        known = {
            "frankfurt": {"marathon_url": self.clusters["frankfurt"].marathon[0]},
            "dublin": {
                "marathon_url": self.clusters["dublin"].marathon,
                "url_username": "me",
                "url_password": "{{ lookup('ansible.builtin.env', 'DUBLIN_PASSWORD') }}",
            },
        }
        self.path.write_text(yaml.safe_dump({"plugin": "zdd.rollout.marathon", "clusters": known, **options}))

    def run(self, program: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ansible", program, "-i", str(self.path), *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(collection_path.ensure()),
                "ANSIBLE_HOME": str(self.folder / "home"),
                "ANSIBLE_VAULT_PASSWORD_FILE": str(self.folder / "password"),
                "ANSIBLE_DEVEL_WARNING": "false",
                "DUBLIN_PASSWORD": SECRET,
                **env,
            },
        )

    def graph(self, **options: Any) -> dict[str, list[str]]:
        """The hosts of each group."""
        self.write(**options)
        ran = self.run("inventory", "--graph")
        assert ran.returncode == 0, ran.stderr
        assert "WARNING" not in ran.stderr, ran.stderr
        return by_group(ran.stdout)

    def variables(self, **options: Any) -> dict[str, dict[str, Any]]:
        """The variables of each host, as a play sees them."""
        self.write(**options)
        ran = self.run("inventory", "--list")
        assert ran.returncode == 0, ran.stderr
        return plain(json.loads(ran.stdout)["_meta"]["hostvars"])

    def failure(self, **options: Any) -> str:
        """What Ansible says, in one line, of a source that it cannot use."""
        self.write(**options)
        ran = self.run("inventory", "--graph")
        assert ran.returncode != 0, ran.stdout
        assert "Traceback" not in ran.stderr
        return " ".join(ran.stderr.split())


@pytest.fixture(name="source")
def _source(tmp_path: Path, clusters: Clusters) -> Source:
    return Source(tmp_path, clusters)


def by_group(graph: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    group = ""
    for line in graph.splitlines():
        name = line.rpartition("--")[2] if "--" in line else line
        if name.startswith("@"):
            group = name.strip("@:")
            found[group] = []
        else:
            found[group].append(name)
    return found


def plain(value: Any) -> Any:
    """Without the marks of texts that are no templates."""
    if isinstance(value, Mapping):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_tasks_are_grouped_by_what_they_belong_to(source: Source) -> None:
    graph = source.graph()

    assert {group: len(hosts) for group, hosts in graph.items() if group not in ("all", "ungrouped")} == {
        "cluster_frankfurt": 5,
        "cluster_dublin": 1,
        "app_web_shop_blue": 3,
        "app_web_shop_green": 2,
        "app_worker": 1,
        "group_web_shop": 5,
        "colour_blue": 3,
        "colour_green": 2,
        "version_1": 3,
        "version_2": 2,
    } | {group: 1 for group in graph if group.startswith("version_2026")}
    assert all(name.endswith("@dublin") for name in graph["cluster_dublin"])


def test_tasks_say_where_they_are_and_whether_users_reach_them(source: Source) -> None:
    tasks = [
        variables
        for variables in source.variables().values()
        if variables["marathon_cluster"] == "frankfurt" and variables["marathon_app"]["group"] == "web_shop"
    ]

    assert {(each["marathon_app"]["colour"], each["marathon_task"]["live"]) for each in tasks} == {
        ("blue", False),
        ("green", True),
    }
    agents = {agent["host"] for agent in source.clusters["frankfurt"].agents}
    for each in tasks:
        task = each["marathon_task"]
        assert each["ansible_host"] == task["host"]
        assert task["host"] in agents
        assert task["addresses"] == [f"{task['host']}:{task['ports'][0]}"]
        assert task["healthy"]


def test_apps_and_groups_are_hosts_too(source: Source) -> None:
    assert source.graph(hosts="apps")["cluster_frankfurt"] == [
        "web_shop-blue@frankfurt",
        "web_shop-green@frankfurt",
        "worker@frankfurt",
    ]
    groups = source.graph(hosts="groups")
    assert groups["group_web_shop"] == ["web_shop@dublin", "web_shop@frankfurt"]
    assert groups["app_web_shop_green"] == ["web_shop@frankfurt"]


def test_a_play_reaches_the_clusters_and_groups_of_the_inventory(source: Source) -> None:
    source.write(hosts="clusters", defaults={"vars": {"ansible_python_interpreter": sys.executable}})
    (source.folder / "play.yml").write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "app_web_shop_green",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "zdd.rollout.marathon_app_info": {
                                "marathon_url": "{{ marathon_url }}",
                                "group": "{{ marathon_group_names | first }}",
                            },
                            "register": "found",
                        },
                        {"ansible.builtin.debug": {"msg": "{{ found.apps | map(attribute='id') | join(' ') }}"}},
                    ],
                }
            ]
        )
    )

    ran = source.run("playbook", "play.yml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "/web/shop-blue /web/shop-green" in ran.stdout
    assert "dublin" not in ran.stdout


def test_clusters_have_the_variables_of_the_source_and_no_credentials(source: Source) -> None:
    clusters = {
        "frankfurt": {
            "marathon_url": source.clusters["frankfurt"].marathon[0].replace("http://", "http://a:b@"),
            "marathon_lb_url": "http://c:d@lb:9090",
            "vars": {"own": 1, "both": "cluster"},
        }
    }
    variables = source.variables(
        hosts="clusters", clusters=clusters, defaults={"vars": {"both": "all", "other": "{{ 1 + 1 }}"}}
    )["frankfurt"]

    assert variables["marathon_url"] == source.clusters["frankfurt"].marathon
    assert variables["marathon_lb_url"] == ["http://lb:9090"]
    assert (variables["own"], variables["both"], int(variables["other"])) == (1, "cluster", 2)
    assert variables["ansible_connection"] == "local"
    assert variables["marathon_app_ids"] == ["/web/shop-blue", "/web/shop-green", "/worker"]


def test_no_secret_is_told(source: Source) -> None:
    for kind in ("tasks", "apps", "groups", "clusters"):
        assert SECRET not in json.dumps(source.variables(hosts=kind))


def test_what_apps_say_is_never_a_template(source: Source) -> None:
    graph = source.graph(
        hosts="apps",
        keyed_groups=[{"key": "marathon_app.labels.team", "prefix": "team"}],
        filters={"app_id": "/worker"},
    )

    assert "team_42" not in graph


def test_variables_and_groups_can_be_composed(source: Source) -> None:
    options = {
        "hosts": "tasks",
        "compose": {"address": "marathon_task.addresses | first"},
        "groups": {"idle": "not marathon_task.live"},
        "keyed_groups": [{"key": "marathon_app.labels.team", "prefix": "team"}],
        "filters": {"app_id": ["/web/*"]},
    }

    graph = source.graph(**options)
    assert len(graph["team_sales"]) == 5
    assert set(graph["idle"]) < set(graph["app_web_shop_blue"])
    assert all(
        each["address"] == each["marathon_task"]["addresses"][0] for each in source.variables(**options).values()
    )


def test_with_strict_an_expression_that_fails_is_an_error(source: Source) -> None:
    broken = {"compose": {"address": "no_such_thing.at_all"}, "hosts": "apps"}

    assert "web_shop-blue@frankfurt" in source.graph(**broken)["cluster_frankfurt"]
    assert "Could not set address" in source.failure(**broken, strict=True)


def test_filters_choose_apps_and_do_not_change_what_is_said_of_them(source: Source) -> None:
    blue = {"label": "HAPROXY_DEPLOYMENT_COLOUR==blue"}

    apps = source.variables(hosts="apps", filters=blue)
    assert {name: each["marathon_app"]["live"] for name, each in apps.items()} == {
        "web_shop-blue@dublin": True,
        "web_shop-blue@frankfurt": False,
    }
    assert set(source.graph(hosts="apps", filters={"app_id": "/w*r"})["all"]) == set()
    assert set(source.graph(hosts="clusters", filters={"app_id": "/worker"})["app_worker"]) == {"frankfurt"}
    assert set(source.graph(hosts="clusters", filters={"app_id": "/none"})["cluster_dublin"]) == {"dublin"}


def test_each_cluster_is_asked_once_and_not_at_all_while_the_cache_holds(source: Source) -> None:
    cache = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(source.folder / "cache"),
    }
    sandbox = source.clusters["frankfurt"]

    def asked() -> int:
        return len(sandbox.requests()["log"])

    sandbox.forget_requests()
    before = source.variables(**cache)
    first = asked()
    again = source.variables(**cache)
    assert (first, asked()) == (1, 1)
    assert again == before

    source.variables(**cache, filters={"label": "team==sales"})
    assert asked() == 3, "another question is not answered from the cache"
    assert source.run("inventory", "--list", "--flush-cache").returncode == 0
    assert asked() == 5
    for path in (source.folder / "cache").iterdir():
        assert SECRET not in path.read_text()


def test_a_cluster_that_is_away_is_an_error_that_names_it(source: Source) -> None:
    away = {"marathon_url": NOWHERE, "retry_timeout": 0}

    message = source.failure(clusters={"here": {"marathon_url": source.clusters["frankfurt"].marathon}, "away": away})

    assert f"Cluster away: Marathon at {NOWHERE} did not answer GET /v2/apps: Connection refused" in message


def test_a_cluster_that_is_away_can_be_left_out_and_is_asked_again(source: Source) -> None:
    frankfurt = source.clusters["frankfurt"]
    options = {
        "hosts": "clusters",
        "strict_clusters": False,
        "defaults": {"retry_timeout": 0},
        "clusters": {"frankfurt": {"marathon_url": frankfurt.marathon}, "away": {"marathon_url": NOWHERE}},
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(source.folder / "cache"),
    }
    for _time in range(2):
        source.write(**options)
        ran = source.run("inventory", "--graph")
        assert ran.returncode == 0
        assert by_group(ran.stdout)["all"] == []
        assert by_group(ran.stdout)["cluster_frankfurt"] == ["frankfurt"]
        assert "cluster_away" not in ran.stdout
        assert "Cluster away: Marathon at" in ran.stderr
        assert "It is left out of the inventory." in " ".join(ran.stderr.split())


def test_a_wrong_password_is_named_and_not_shown(source: Source) -> None:
    message = source.failure(clusters={"dublin": {
        "marathon_url": source.clusters["dublin"].marathon, "url_username": "me", "url_password": "wrong-pass",
    }})  # fmt: skip

    assert "Cluster dublin" in message
    assert "401" in message
    assert "wrong-pass" not in message


def test_a_vaulted_password_is_decrypted(source: Source) -> None:
    cipher = VaultLib().encrypt(SECRET, VaultSecret(b"p")).decode()
    dublin = source.clusters["dublin"].marathon[0]
    lines = "".join(f"        {line}\n" for line in cipher.splitlines())
    source.path.write_text(
        "plugin: zdd.rollout.marathon\nhosts: apps\nclusters:\n  dublin:\n"
        f"    marathon_url: {dublin}\n    url_username: me\n    url_password: !vault |\n{lines}"
    )

    ran = source.run("inventory", "--graph")

    assert by_group(ran.stdout)["cluster_dublin"] == ["web_shop-blue@dublin"], ran.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clusters": {}}, "name at least one cluster"),
        ({"clusters": {"a b": {"marathon_url": NOWHERE}}}, "'a b' is no name"),
        ({"clusters": ["a"]}, "clusters"),
        ({"clusters": {"a": "http://x"}}, "clusters: a: it has to be a dictionary"),
        ({"clusters": {"a": {"marathon_url": NOWHERE, "vars": [1]}}}, "clusters: a: vars: it has to be a dictionary"),
        ({"defaults": {"vars": "x"}}, "defaults: vars: it has to be a dictionary"),
        ({"clusters": {"a": {"marathon_url": "lb"}}, "strict_clusters": False}, "lb is no address"),
        ({"clusters": {"a": {}}}, "clusters: a: missing required arguments: marathon_url"),
        ({"clusters": {"a": {"marathon_url": "lb"}}}, "lb is no address"),
        ({"clusters": {"a": {"marathon_url": NOWHERE, "marathn": 1}}}, "marathn"),
        ({"clusters": {"a": {"marathon_url": NOWHERE, "timeout": "soon", "auth_token": SECRET}}}, "timeout"),
        ({"clusters": {"a": {"marathon_url": NOWHERE, "url_password": SECRET}}}, "url_username"),
        ({"filters": {"labels": "a"}}, "filters"),
        ({"hosts": "agents"}, "agents"),
        ({"clusters": {"a": {"marathon_url": "{{ nothing_of_that_name }}"}}}, "nothing_of_that_name"),
    ],
)
def test_a_source_that_is_wrong_is_refused_by_the_name_of_what_is_wrong(
    source: Source, options: dict[str, Any], named: str
) -> None:
    message = source.failure(**options)

    assert named in message
    assert SECRET not in message


def test_other_files_are_left_to_other_plugins(source: Source) -> None:
    source.write()
    source.path = source.path.rename(source.folder / "inventory.yml")

    assert source.run("inventory", "--graph").returncode != 0
