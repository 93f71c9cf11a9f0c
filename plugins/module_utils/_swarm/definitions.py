# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user wants a group's services to be: options of ``community.docker.docker_swarm_service``, checked. Pure.

The name is that of the group. What is created is the service of one colour, with the labels of the group.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._errors import InvalidInput
from .._rollout.state import COLOURS
from .group import (
    COLOUR_LABEL,
    DEFINITION_LABEL,
    DEPLOYED_LABEL,
    GROUP_LABEL,
    VERSION_LABEL,
    Endpoint,
    service_name,
    version_of,
)
from .tasks import OVERLAY

Json = Mapping[str, Any]

_TEXT, _TEXTS, _MAP, _FLAG, _COUNT = (
    {"type": "str"},
    {"type": "list", "elements": "str"},
    {"type": "dict"},
    {"type": "bool"},
    {"type": "int"},
)
_RAW = {"type": "raw"}


def _dict(**options: Any) -> dict[str, Any]:
    return {"type": "dict", "options": options}


def _list(**options: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": options}


_RESOURCES = _dict(cpus={"type": "float"}, memory=_TEXT)
_CHANGE = {
    "parallelism": _COUNT,
    "delay": _TEXT,
    "failure_action": _TEXT,
    "monitor": _TEXT,
    "max_failure_ratio": {"type": "float"},
    "order": _TEXT,
}
_FILE = {"filename": _TEXT, "uid": _TEXT, "gid": _TEXT, "mode": _COUNT}

# The options of docker_swarm_service (community.docker 4.8) that say what a service is.
FIELDS: dict[str, Any] = {
    "name": _TEXT,
    "image": _TEXT,
    "args": _TEXTS,
    "cap_add": _TEXTS,
    "cap_drop": _TEXTS,
    "command": _RAW,
    "configs": _list(config_id=_TEXT, config_name={"type": "str", "required": True}, **_FILE),
    "container_labels": _MAP,
    "dns": _TEXTS,
    "dns_options": _TEXTS,
    "dns_search": _TEXTS,
    "endpoint_mode": {"type": "str", "choices": ["vip", "dnsrr"]},
    "env": _RAW,
    "env_files": {"type": "list", "elements": "path"},
    "groups": _TEXTS,
    "healthcheck": _dict(test=_RAW, interval=_TEXT, timeout=_TEXT, start_period=_TEXT, retries=_COUNT),
    "hostname": _TEXT,
    "hosts": _MAP,
    "init": _FLAG,
    "labels": _MAP,
    "limits": _RESOURCES,
    "logging": _dict(driver=_TEXT, options=_MAP),
    "mode": _TEXT,
    "mounts": _list(
        source=_TEXT,
        target={"type": "str", "required": True},
        type={"type": "str", "choices": ["bind", "volume", "tmpfs", "npipe"]},
        readonly=_FLAG,
        labels=_MAP,
        propagation=_TEXT,
        no_copy=_FLAG,
        driver_config=_dict(name=_TEXT, options=_MAP),
        tmpfs_size=_TEXT,
        tmpfs_mode=_COUNT,
    ),
    "networks": {"type": "list", "elements": "raw"},
    "placement": _dict(
        constraints=_TEXTS, preferences={"type": "list", "elements": "dict"}, replicas_max_per_node=_COUNT
    ),
    "publish": _list(
        published_port=_COUNT,
        target_port={"type": "int", "required": True},
        protocol={"type": "str", "choices": ["tcp", "udp"]},
        mode={"type": "str", "choices": ["ingress", "host"]},
    ),
    "read_only": _FLAG,
    "replicas": _COUNT,
    "reservations": _RESOURCES,
    "resolve_image": _FLAG,
    "restart_config": _dict(condition=_TEXT, delay=_TEXT, max_attempts=_COUNT, window=_TEXT),
    "rollback_config": _dict(**_CHANGE),
    "secrets": _list(secret_id=_TEXT, secret_name={"type": "str", "required": True}, **_FILE),
    "stop_grace_period": _TEXT,
    "stop_signal": _TEXT,
    "sysctls": _MAP,
    "tty": _FLAG,
    "update_config": _dict(**_CHANGE),
    "user": _TEXT,
    "working_dir": _TEXT,
}

# What docker_swarm_service takes and a rollout decides itself.
_DECIDED = {
    "force_update": "to start every task anew, say goal: renew",
    "state": "to remove a group, use zdd.rollout.swarm_dispose",
}

# Not part of what a version is: the count is changed without a new version, and the image's digest is in its name.
_APART = ("name", "replicas", "resolve_image")

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?")
_LONGEST = 63 - max(len(colour) for colour in COLOURS) - 1  # Docker's limit for the name of a service


@dataclass(frozen=True)
class Definition:
    """A checked definition. ``fields``: as given, with the image by which it is to be created."""

    name: str
    fields: Json
    version: str
    replicas: int | None
    endpoint: Endpoint
    published_ports: Mapping[str, int]

    @property
    def image(self) -> str:
        """The image, by its digest where that is known."""
        return self.fields["image"]

    @property
    def resolves(self) -> bool | None:
        """Whether the image is to be pinned, where the definition itself says so."""
        return self.fields.get("resolve_image")

    def pinned(self, digest: str) -> Definition:
        """With the very image that ``digest`` names, whatever its tag means later."""
        image = self.image if ":" in self.image.rpartition("/")[2] else f"{self.image}:latest"
        return replace(self, fields={**self.fields, "image": f"{image}@{digest}"})

    def hash(self) -> str:
        """SHA-256 of what is wanted, in a form that does not depend on the order in which it was written."""
        parts = {key: value for key, value in self.fields.items() if key not in _APART and value is not None}
        if self.published_ports:
            parts["published_ports"] = dict(self.published_ports)
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def port_of(self, colour: str) -> int | None:
        """The fixed port of a colour on the nodes, ``None`` where Docker chooses one for each task."""
        if colour in self.published_ports:
            return self.published_ports[colour]
        entry = self._behind_the_proxies()
        return entry.get("published_port") if entry else None

    def service(self, colour: str, replicas: int, deployed_at: str) -> dict[str, Any]:
        """The options of docker_swarm_service for the service of a colour."""
        behind = self._behind_the_proxies()
        made = {
            **self.fields,
            "name": service_name(self.name, colour),
            "replicas": replicas,
            "resolve_image": False,
            # All at once and without overlap: nobody uses the idle colour, and its ports may be fixed.
            "update_config": {"parallelism": 0, "order": "stop-first", **(self.fields.get("update_config") or {})},
            "labels": {
                **(self.fields.get("labels") or {}),
                GROUP_LABEL: self.name,
                COLOUR_LABEL: colour,
                VERSION_LABEL: self.version,
                DEFINITION_LABEL: self.hash(),
                DEPLOYED_LABEL: deployed_at,
            },
        }
        if behind is not None and self.port_of(colour) is not None:
            made["publish"] = [
                {**entry, "published_port": self.port_of(colour)} if entry is behind else entry
                for entry in self.fields["publish"]
            ]
        return made

    def _behind_the_proxies(self) -> dict[str, Any] | None:
        entries = self.fields.get("publish") or []
        return next((entry for entry in entries if _is_behind(entry, self.endpoint.target_port)), None)


def definition(
    given: Json,
    *,
    name: str | None = None,
    image: str | None = None,
    version: str | None = None,
    replicas: int | None = None,
    endpoint: Endpoint | None = None,
    published_ports: Mapping[str, Any] | None = None,
) -> Definition:
    """Check a definition, and complete it by what was given beside it. An image without a tag gets ``version`` as such.

    :raises InvalidInput: names the field, what was found and what is accepted.
    """
    fields = {key: value for key, value in given.items() if value is not None}
    if name:
        fields["name"] = name
    if image:
        tagged = ":" in image.rpartition("/")[2] or "@" in image
        fields["image"] = image if tagged or not version else f"{image}:{version}"
    if replicas is not None:
        fields["replicas"] = replicas
    fields = _checked_fields(fields)
    behind = endpoint or Endpoint()
    if behind.kind == OVERLAY:
        _check_overlay(fields, behind)
    else:
        behind = _published(fields, behind)
    ports = _ports(published_ports or {}, fields, behind)
    _check_other_ports(fields, behind, ports)
    return Definition(
        name=fields["name"],
        fields=fields,
        version=version or version_of(fields["image"]),
        replicas=fields.get("replicas"),
        endpoint=behind,
        published_ports=ports,
    )


def check_name(name: str | None) -> str:
    """The name of a group, from which the names of its services are made.

    :raises InvalidInput: it cannot be one.
    """
    if not name or not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InvalidInput(
            "invalid_option",
            f"The name of the group is {name!r}; it has letters, digits, '-', '_' and '.', starts and ends with a "
            f"letter or digit, and is at most {_LONGEST} characters long.",
        )
    return name


def _checked_fields(fields: Json) -> dict[str, Any]:
    """The fields with the types that docker_swarm_service gives them."""
    for field, instead in _DECIDED.items():
        if field in fields:
            raise InvalidInput("invalid_definition", f"The service's {field} is decided by the rollout; {instead}.")
    validation = ArgumentSpecValidator(FIELDS).validate(dict(fields))
    if validation.error_messages:
        raise InvalidInput(
            "invalid_definition",
            f"The service is none that docker_swarm_service takes{_wrong(fields)}: {validation.errors.msg}",
        )
    fields = _without_none(validation.validated_parameters)
    check_name(fields.get("name"))
    if not fields.get("image"):
        raise InvalidInput(
            "invalid_definition", f"The service {fields['name']} has no image, in its definition or apart."
        )
    mode = fields.get("mode", "replicated")
    if mode != "replicated":
        raise InvalidInput(
            "invalid_definition",
            f"The service {fields['name']} has the mode {mode}; a rollout needs replicated, as a colour has a count of "
            "replicas.",
        )
    replicas = fields.get("replicas")
    if replicas is not None and replicas < 1:
        raise InvalidInput(
            "invalid_definition",
            f"The service {fields['name']} has {replicas} replicas; a version that is to be live needs at least 1.",
        )
    return fields


def _wrong(fields: Json) -> str:
    """Which fields are wrong: Ansible's message about one with parts only says what was expected of it."""
    alone = {field: ArgumentSpecValidator({field: FIELDS[field]}) for field in fields if field in FIELDS}
    wrong = [field for field, spec in alone.items() if spec.validate({field: fields[field]}).error_messages]
    return f" ({', '.join(wrong)})" if wrong else ""


def _without_none(given: Any) -> Any:
    """Without the options that were not given, at any depth."""
    if isinstance(given, Mapping):
        return {key: _without_none(value) for key, value in given.items() if value is not None}
    return [_without_none(one) for one in given] if isinstance(given, list) else given


def _published(fields: Json, endpoint: Endpoint) -> Endpoint:
    """With the port that the proxies send requests to: the given one, or the only TCP port that is published."""
    entries = [entry for entry in fields.get("publish") or [] if entry.get("protocol", "tcp") == "tcp"]
    if endpoint.target_port is None:
        ports = {entry["target_port"] for entry in entries}
        if len(ports) != 1:
            raise InvalidInput(
                "invalid_option",
                f"The service {fields['name']} publishes {', '.join(map(str, sorted(ports))) or 'no TCP port'}; the "
                "option target_port says which one the proxies send requests to.",
            )
        endpoint = replace(endpoint, target_port=ports.pop())
    behind = [entry for entry in entries if _is_behind(entry, endpoint.target_port)]
    if not behind:
        raise InvalidInput(
            "invalid_definition",
            f"The service {fields['name']} does not publish the port {endpoint.target_port} that the proxies send "
            "requests to. Give publish an entry with that target_port and mode: host, or use endpoint: overlay.",
        )
    if behind[0].get("mode") != "host":
        raise InvalidInput(
            "invalid_definition",
            f"The service {fields['name']} publishes its port {endpoint.target_port} with the mode "
            f"{behind[0].get('mode') or 'ingress'}; it has to be host. Through the ingress mesh any node sends a "
            "request to any task, so no proxy could tell which task it reaches, nor see one drained.",
        )
    return endpoint


def _is_behind(entry: Json, target_port: int | None) -> bool:
    return entry["target_port"] == target_port and entry.get("protocol", "tcp") == "tcp"


def _check_overlay(fields: Json, endpoint: Endpoint) -> None:
    if endpoint.target_port is None or not endpoint.network:
        raise InvalidInput(
            "invalid_option", "With endpoint: overlay the options target_port and network say where a task is reached."
        )
    networks = [one.get("name") if isinstance(one, Mapping) else one for one in fields.get("networks") or []]
    if endpoint.network not in networks:
        raise InvalidInput(
            "invalid_definition",
            f"The service {fields['name']} has the networks {', '.join(map(str, networks)) or 'none'}; the proxies "
            f"reach it in {endpoint.network}, which has to be among them.",
        )


def _ports(given: Mapping[str, Any], fields: Json, endpoint: Endpoint) -> dict[str, int]:
    """The fixed port of each colour.

    :raises InvalidInput: one has none, or both have the same.
    """
    if endpoint.kind == OVERLAY:
        if given:
            raise InvalidInput(
                "invalid_option",
                "Option published_ports is for endpoint: host; in an overlay network no port is taken.",
            )
        return {}
    ports: dict[str, int] = {}
    for colour, port in given.items():
        if colour not in COLOURS or not str(port).isdecimal() or not 0 < int(port) < 65536:
            raise InvalidInput(
                "invalid_option",
                f"Option published_ports has {colour}: {port!r}; it has a port from 1 to 65535 for each of "
                f"{', '.join(COLOURS)}.",
            )
        ports[colour] = int(port)
    if not ports:
        return {}
    if len(ports) != len(COLOURS) or len(set(ports.values())) != len(COLOURS):
        raise InvalidInput(
            "invalid_option", f"Option published_ports is {dict(given)}; each colour needs a port of its own."
        )
    return ports


def _check_other_ports(fields: Json, endpoint: Endpoint, ports: Mapping[str, int]) -> None:
    """Both colours are there at the same time, so nothing that they publish may have a fixed port."""
    for entry in fields.get("publish") or []:
        behind = endpoint.kind != OVERLAY and _is_behind(entry, endpoint.target_port)
        if entry.get("published_port") and not (behind and ports):
            _refuse_fixed(fields["name"], entry["published_port"])


def _refuse_fixed(name: str, port: int) -> None:
    raise InvalidInput(
        "invalid_definition",
        f"The service {name} publishes the fixed port {port}, which both colours would want at the same time. Leave "
        "published_port out, so that Docker chooses one for each task, or give each colour its own behind the proxies "
        "with the option published_ports.",
    )
