# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin ``marathon``: its documentation, its options and its cache."""

from __future__ import annotations

DOCUMENTATION = r"""
name: marathon
short_description: Clusters, deployment groups, apps or tasks of Marathon
version_added: "0.1.0"
author:
  - The zdd.rollout contributors (@zdd-rollout)
description:
  - Lists what runs on one or many Marathon clusters as hosts and groups.
  - The source is a file whose name ends in C(marathon.yml) or C(marathon.yaml).
  - Each host is in the groups C(cluster_NAME), C(app_ID), C(group_NAME) for the deployment group (label
    C(HAPROXY_DEPLOYMENT_GROUP)), C(colour_NAME) and C(version_NAME), as far as it has these. What is no letter or digit
    becomes C(_) in the names of groups, so C(/web/shop-blue) is in C(app_web_shop_blue).
  - Each cluster is asked once, or twice with O(filters), however many apps and tasks there are.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description:
      - Says that the file is a source of this plugin.
    type: str
    required: true
    choices:
      - zdd.rollout.marathon
  clusters:
    description:
      - The clusters by name. Names are made of letters, digits, C(.), C(_) and C(-).
      - Each has C(marathon_url), the addresses of its members, one or a list, and the other options of
        M(zdd.rollout.marathon_app_info) that say how to ask it, where they are needed, C(url_username),
        C(url_password), C(auth_token), C(dcos_url), C(dcos_username), C(dcos_password), C(dcos_service_account),
        C(validate_certs), C(ca_path), C(client_cert), C(client_key), C(timeout) and C(retry_timeout), with the same
        defaults and environment variables.
      - It may have C(marathon_lb_url), which becomes a variable of its hosts, and C(vars), more variables of them.
      - All values may be templates, with lookups in them. Keep secrets out of the file by these, or encrypt them with
        Ansible Vault.
    type: dict
    required: true
  defaults:
    description:
      - What is the same for all clusters, as in O(clusters). A cluster's own settings win, one by one, C(vars) too.
    type: dict
    default: {}
  hosts:
    description:
      - What becomes a host.
      - V(tasks) are called C(ID@CLUSTER). They have the variables C(ansible_host), which is the address of the agent,
        or of the task where it has one of its own, C(marathon_task) and C(marathon_app).
      - V(apps) are called C(ID@CLUSTER), with C(_) for each C(/) inside. They have the variables C(marathon_app) and
        C(marathon_tasks).
      - V(groups) are the deployment groups. They are called C(NAME@CLUSTER) and have the variable C(marathon_group).
      - V(clusters) are called by their names, for rollouts over all of them. They have the variables
        C(marathon_app_ids) and C(marathon_group_names), and are in the groups of all apps and deployment groups that
        they run.
      - All have C(marathon_cluster), C(marathon_url) and, where it is set, C(marathon_lb_url). All but tasks have
        C(ansible_connection) set to V(local), as there is nothing to log in to. Logins and passwords are in no
        variable.
    type: str
    choices:
      - tasks
      - apps
      - groups
      - clusters
    default: tasks
  filters:
    description:
      - Which apps count. With V(clusters) for O(hosts), all clusters stay, and only their groups get fewer.
    type: dict
    default: {}
    suboptions:
      label:
        description:
          - A label selector of Marathon, such as C(HAPROXY_GROUP==external,tier!=test).
        type: str
      app_id:
        description:
          - Patterns for ids, one or a list of them, with C(*) and C(?), such as C(/web/*).
        type: list
        elements: str
  strict_clusters:
    description:
      - Whether a cluster that cannot be asked is an error. Otherwise it is left out, with a warning.
    type: bool
    default: true
notes:
  - Ansible goes on without hosts when a source fails. Set C(any_unparsed_is_failed) in the section C([inventory]) of
    its configuration to have it stop.
  - What is cached are apps and tasks as the variables show them, no settings of the source and no environment of an
    app.
requirements:
  - requests
seealso:
  - module: zdd.rollout.marathon_app_info
"""

EXAMPLES = r"""
# shop.marathon.yml: the tasks of two clusters, by team
plugin: zdd.rollout.marathon
defaults:
  url_username: inventory
  url_password: "{{ lookup('ansible.builtin.env', 'MARATHON_PASSWORD') }}"
clusters:
  frankfurt:
    marathon_url:
      - https://m1.fra.example:8443
      - https://m2.fra.example:8443
  dublin:
    marathon_url: https://m1.dub.example:8443
filters:
  label: HAPROXY_GROUP==external
keyed_groups:
  - key: marathon_app.labels.team
    prefix: team
compose:
  address: marathon_task.addresses | first
groups:
  idle: not marathon_task.live

---
# clusters.marathon.yml: the clusters themselves, to roll something out on
plugin: zdd.rollout.marathon
hosts: clusters
strict_clusters: false
cache: true
defaults:
  vars:
    bluegreen_bake_seconds: 60
clusters:
  frankfurt:
    marathon_url: http://m1.fra.example:8080
    marathon_lb_url: http://lb.fra.example:9090
  dublin:
    marathon_url: http://m1.dub.example:8080
    marathon_lb_url: http://lb.dub.example:9090
    vars:
      bluegreen_bake_seconds: 600
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ..module_utils._errors import InvalidInput, OperationError
from ..module_utils._haproxy.endpoints import MARATHON_LB_SPEC
from ..module_utils._haproxy.marathon_lb_decision import GROUP
from ..module_utils._invocation.context import Context
from ..module_utils._invocation.secrets import secrets_of
from ..module_utils._marathon.client import MARATHON_SPEC, Marathon
from ..module_utils._parallel import each
from ..plugin_utils.marathon_hosts import Host, describe, group_of, grouped, hosts
from ..plugin_utils.operation_action import plain

if hasattr(BaseInventoryPlugin, "trusted_by_default"):

    def _untrusted(value: Any) -> Any:
        """Ansible 2.19 and newer makes a template only of what says that it may be one."""
        return value

else:
    from ansible.utils.unsafe_proxy import wrap_var as _untrusted

CLUSTER_SPEC: dict[str, Any] = {
    **MARATHON_SPEC,
    "marathon_lb_url": {**MARATHON_LB_SPEC["marathon_lb_url"], "required": False},
    "vars": {"type": "dict", "default": {}},
}
FILTER_SPEC: dict[str, Any] = {"label": {"type": "str"}, "app_id": {"type": "list", "elements": "str"}}

_ENDINGS = ("marathon.yml", "marathon.yaml")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Cluster:
    """One cluster, as the source describes it. ``secrets`` must not be shown."""

    name: str
    params: Mapping[str, Any]
    secrets: frozenset[str]

    def variables(self) -> dict[str, Any]:
        """The variables that the source gives to each host, without credentials."""
        lbs = self.params["marathon_lb_url"]
        return {
            **self.params["vars"],
            "marathon_url": [_without_credentials(url) for url in self.params["marathon_url"]],
            **({"marathon_lb_url": [_without_credentials(url) for url in lbs]} if lbs else {}),
        }

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return remove_values(text, self.secrets)


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin."""

    NAME = "zdd.rollout.marathon"

    def verify_file(self, path: str) -> bool:
        """Whether the file is one for this plugin, by its name."""
        return super().verify_file(path) and path.endswith(_ENDINGS)

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Fill the inventory with what the clusters of the source run.

        :raises AnsibleParserError: the source cannot be used, or a cluster cannot be asked.
        """
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        clusters = self._clusters()
        filters = _validated("filters", FILTER_SPEC, _mapping("filters", self._evaluated("filters")))[0]
        known = self._described(clusters, filters["label"], path, cache)
        names: set[str] = set()
        for cluster in clusters:
            described = [app for app in known.get(cluster.name, ()) if _is_chosen(app["id"], filters["app_id"])]
            for host in hosts(self.get_option("hosts"), cluster.name, described) if cluster.name in known else ():
                if host.name in names:  # the groups a/b and a_b, which are one to marathon-lb, too
                    self.display.warning(
                        f"Several deployment groups would be the host {host.name}; the first is taken."
                    )
                    continue
                names.add(host.name)
                self._add(host, cluster.variables())

    def _add(self, host: Host, given: Mapping[str, Any]) -> None:
        self.inventory.add_host(host.name)
        for name, value in {**given, **_untrusted(host.variables)}.items():
            self.inventory.set_variable(host.name, name, value)
        for group in host.groups:
            self.inventory.add_group(group)
            self.inventory.add_child(group, host.name)
        strict = self.get_option("strict")
        variables = self.inventory.get_host(host.name).get_vars()
        self._set_composite_vars(self.get_option("compose"), variables, host.name, strict=strict)
        variables = self.inventory.get_host(host.name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host.name, strict=strict)

    def _evaluated(self, option: str) -> Any:
        """An option with its templates evaluated, in the types of JSON."""
        self.templar.available_variables = self._vars or {}
        return plain(self.templar.template(self.get_option(option)))

    def _clusters(self) -> list[Cluster]:
        clusters = _mapping("clusters", self._evaluated("clusters"))
        if not clusters:
            raise AnsibleParserError(
                "Option clusters: name at least one cluster, as in 'frankfurt: {marathon_url: …}'."
            )
        defaults = _mapping("defaults", self._evaluated("defaults"))
        common_vars = _mapping("defaults: vars", defaults.get("vars"))
        found = []
        for name, settings in clusters.items():
            if not _NAME.fullmatch(name):
                raise AnsibleParserError(
                    f"Option clusters: {name!r} is no name; it may have letters, digits, '.', '_' and '-'."
                )
            where = f"clusters: {name}"
            own = {key: value for key, value in _mapping(where, settings).items() if value is not None}
            both = {**defaults, **own, "vars": {**common_vars, **_mapping(f"{where}: vars", own.get("vars"))}}
            params, secrets = _validated(where, CLUSTER_SPEC, both)
            found.append(Cluster(name, params, frozenset(secrets)))
        return found

    def _described(
        self, clusters: list[Cluster], label: str | None, path: str, may_use_cache: bool
    ) -> dict[str, list[dict[str, Any]]]:
        """The apps by cluster, from the cache where it has them. Clusters that cannot be asked are not in it.

        :raises AnsibleParserError: with ``strict_clusters``, one cannot be asked; without it, by its settings.
        """
        use_cache = self.get_option("cache")
        key = f"{self.get_cache_key(path)}_{_fingerprint(clusters, label)}"
        known: dict[str, list[dict[str, Any]]] = {}
        if use_cache and may_use_cache:
            known = dict(self._cache.get(key) or {})
        unknown = [cluster for cluster in clusters if cluster.name not in known]
        context = Context(progress=self.display.vv)
        for cluster, answer in zip(unknown, each(lambda cluster: _ask(cluster, label, context), unknown), strict=True):
            if not isinstance(answer, OperationError):
                known[cluster.name] = answer
                continue
            message = f"Cluster {cluster.name}: {cluster.masked(answer.message)}"
            if self.get_option("strict_clusters") or isinstance(answer, InvalidInput):
                raise AnsibleParserError(message)
            self.display.warning(f"{message} It is left out of the inventory.")
        if use_cache and unknown:
            self._cache[key] = known
        return known


def _ask(cluster: Cluster, label: str | None, context: Context) -> list[dict[str, Any]] | OperationError:
    """The apps of a cluster, described, or why it could not be asked."""
    try:
        with Marathon.from_params(cluster.params, context) as marathon:
            apps = marathon.apps(label=label)
            whole = apps
            if label is not None and any(group_of(app) for app in apps):
                whole = marathon.apps(label=GROUP)  # the selector may have chosen a part of a group
            return describe(apps, grouped(whole))
    except OperationError as error:
        return error


def _is_chosen(app_id: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(app_id, pattern) for pattern in patterns)


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    """A dictionary of the source; nothing is an empty one.

    :raises AnsibleParserError: it is something else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise AnsibleParserError(f"Option {where}: it has to be a dictionary.")
    return value or {}


def _validated(where: str, spec: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The options with their types and defaults, and the secrets in them.

    :raises AnsibleParserError: an option is wrong.
    """
    validation = ArgumentSpecValidator(spec).validate(given)
    secrets = set(validation._no_log_values) | secrets_of(spec, validation.validated_parameters)
    if validation.error_messages:
        text = "; ".join(validation.error_messages)
        raise AnsibleParserError(f"Option {where}: {remove_values(text, secrets)}")
    return validation.validated_parameters, secrets


def _fingerprint(clusters: list[Cluster], label: str | None) -> str:
    """What is asked, so that the cache does not answer for another question."""
    asked = {cluster.name: cluster.variables()["marathon_url"] for cluster in clusters}
    return hashlib.sha256(json.dumps([asked, label], sort_keys=True).encode()).hexdigest()[:16]


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
