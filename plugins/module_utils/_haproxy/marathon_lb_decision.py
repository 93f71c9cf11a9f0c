# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What marathon-lb makes of a list of apps: which servers it lists, and which of them it drains.

The planner asks this model before it changes an app, and the marathon-lb stand-in of the sandbox obeys it, so a wrong
answer here is a lost request there. It is pure: a list of apps in, a decision out, nothing read or remembered.

The rules are those of marathon-lb 1.15 (``get_apps`` and ``config`` in ``marathon_lb.py``), its oddities included.
They were checked against 108 lists of apps with the decisions of the real one (``tests/recordings``). The two that
matter most:

* Apps with the same label ``HAPROXY_DEPLOYMENT_GROUP`` are merged into one backend. One of them *receives* the
  traffic, and of the other one as many tasks are drained as :func:`drained_count` says. With the label
  ``HAPROXY_DEPLOYMENT_NEW_INSTANCES`` on the receiver by date, the receiver is the app that was *scaled last*.
* Everything else of the merged backend (ports, mode, checks, templates) comes from the app that does *not* receive.

Not modelled: the frontends for virtual hosts on ports 80 and 443, ports that marathon-lb assigns itself to apps of
Marathon 1.4 with an address per task, and ``STARTED_AT`` in forms that are not ISO 8601 (the real one guesses them
with dateutil; here they are :class:`Undecidable`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

# The frontend on port 9091 that selects an app by the header X-Marathon-App-Id; it is always there.
APP_ID_FRONTEND = "marathon_http_appid_in"

# Tasks in these states get no server. TASK_RUNNING, TASK_LOST and TASK_UNREACHABLE do: the last two may still serve.
EXCLUDED_STATES = frozenset(
    {
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_KILLING",
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
        "TASK_UNKNOWN",
    }
)

GROUP = "HAPROXY_DEPLOYMENT_GROUP"
STARTED_AT = "HAPROXY_DEPLOYMENT_STARTED_AT"
TARGET_INSTANCES = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"
NEW_INSTANCES = "HAPROXY_DEPLOYMENT_NEW_INSTANCES"

SERVER_TEMPLATE = (
    "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}\n"
)
SERVER_CHECK_TEMPLATE = "check inter {healthCheckIntervalSeconds}s fall {healthCheckFalls}{healthCheckPortOptions}"

# Server ids are what HAProxy's state file is matched by; 2**15 - 1 is the largest that is safe on every platform.
MAX_SERVER_ID = 32767

Json = Mapping[str, Any]


class Undecidable(Exception):
    """marathon-lb breaks off here: it writes no configuration at all, for no app, until the cause is gone.

    ``error`` is what it logs (``"KeyError: 'HAPROXY_DEPLOYMENT_TARGET_INSTANCES'"``), ``reason`` says it for people.
    """

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(f"{reason} ({error})")
        self.error = error
        self.reason = reason


@dataclass(frozen=True)
class Server:
    """One port of one task in a backend. ``draining`` becomes the word ``disabled``, in HAProxy the status MAINT."""

    name: str
    host: str
    ip: str
    port: int
    draining: bool
    task_id: str


@dataclass(frozen=True)
class Service:
    """One service port of an app or of a deployment group: a frontend and a backend of the same name.

    ``app_id`` is the group's name with a leading ``/`` for apps of a deployment group. ``port`` is the one that
    HAProxy listens on. ``templates`` are the app's own templates by name (``BACKEND_HEAD``), ``check`` is the Marathon
    health check that belongs to this port, ``check_ports`` the port to check, one per server, ``None`` for the
    server's own.
    """

    app_id: str
    port: int
    mode: str
    balance: str
    sticky: bool
    vhost: str | None
    bind_address: str
    bind_options: str | None
    check: Json | None
    templates: Mapping[str, str]
    servers: tuple[Server, ...] = ()
    check_ports: tuple[int | None, ...] = ()

    @property
    def backend(self) -> str:
        """The name of the backend and of the frontend."""
        return backend_name(self.app_id, self.port)

    @property
    def checks_by_tcp(self) -> bool:
        """Whether the TCP check templates are used rather than the HTTP ones."""
        return self.check is not None and (self.mode == "tcp" or self.check["protocol"] in ("TCP", "MESOS_TCP"))

    @property
    def checks_by_http(self) -> bool:
        """Whether the HTTP check templates are used. In any other mode than tcp and http there is no check at all."""
        return self.check is not None and not self.checks_by_tcp and self.mode == "http"


def decide(
    apps: Sequence[Json],
    groups: Iterable[str] = ("external",),
    health_check: bool = True,
    resolve: Callable[[str], str] = lambda host: host,
    remembered: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """Return what marathon-lb's configuration says about ``apps``.

    ``apps`` is the list in ``GET /v2/apps?embed=apps.tasks``. ``groups`` are marathon-lb's ``--group`` options,
    ``health_check`` its option ``--health-check``. ``resolve`` gives the IPv4 address of an agent's host name, ``""``
    for an unknown one; the identity is right where agents are named by address. ``remembered`` is whether a task was
    alive (by task id) when Marathon last said so, for tasks that come without ``healthCheckResults``.

    The answer is ``{"servers": [{"backend", "server", "address", "disabled", "check", "cookie"}, ...],
    "frontends": [name, ...]}``, in the order of the configuration; ``disabled`` means drained. Raises
    :class:`Undecidable` where marathon-lb breaks off.
    """
    decided = services(apps, groups, health_check, resolve, remembered)
    return {
        "servers": [row for service in decided for row in _rows(service)],
        "frontends": [APP_ID_FRONTEND, *(service.backend for service in decided)],
    }


def services(
    apps: Sequence[Json],
    groups: Iterable[str] = ("external",),
    health_check: bool = True,
    resolve: Callable[[str], str] = lambda host: host,
    remembered: Mapping[str, bool] | None = None,
) -> list[Service]:
    """Return the services that marathon-lb lists, with their servers, in the order of its configuration.

    Arguments and errors are those of :func:`decide`.
    """
    wanted = frozenset(groups)
    found = [
        service
        for app in merged_by_group([_without_nulls(app) for app in apps])
        for service in _services_of(app, wanted, health_check, resolve, remembered or {})
    ]
    return sorted(found, key=lambda service: (service.app_id, service.port))


def backend_name(app_or_group_id: str, port: int | str) -> str:
    """Return the name of the backend and frontend: ``/team/web`` and 10000 give ``team_web_10000``.

    A deployment group is named with or without its leading slash.
    """
    return f"{app_or_group_id.removeprefix('/').replace('/', '_')}_{port}"


def server_name(host: str, ip: str, port: int | str) -> str:
    """Return the name of a task's server. The host is left out when it is the address itself."""
    parts = (ip, str(port)) if host == ip else (host, ip, str(port))
    return re.sub(r"[^a-zA-Z0-9\-]", "_", "_".join(parts))


def server_id(name: str, taken: Iterable[int] = ()) -> int:
    """Return the id of a server in its backend: the same for the same name, and none of ``taken``.

    The formula is marathon-lb's: the SHA-256 of the name modulo 32767, again with the digest appended on a collision.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()
    number = int(digest, 16) % MAX_SERVER_ID
    if number > 0 and number not in taken:
        return number
    return server_id(f"{name} {digest}", taken)


def drained_count(old_tasks: int, old_instances: int, healthy: int, target: int) -> int:
    """Return how many tasks of the other app are drained when the receiver has ``healthy`` tasks.

    Never more than there are, never more than the receiver can replace, and together with it never fewer than
    ``target`` are left. ``old_instances`` is the app's wanted count, which may differ from its number of tasks.
    """
    return min(old_tasks, healthy, max(0, healthy + old_instances - target))


def healthy_count(app: Json) -> int:
    """Return how many tasks of ``app`` have a health check result that is alive."""
    return sum(_alive(task) for task in app["tasks"] if "healthCheckResults" in task)


def parse_time(text: str) -> datetime:
    """Read an ISO 8601 time as marathon-lb does, naive without a zone. Raises :class:`Undecidable` for other text."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Undecidable(f"ParserError: Unknown string format: {text}", f"{text!r} is not an ISO 8601 time") from error


def merged_by_group(apps: Sequence[Json]) -> list[Json]:
    """Return the apps outside of any deployment group, then one merged app per group.

    A merged app has the group's name as its id, the tasks of all its apps, and the key ``draining`` on drained tasks.
    """
    alone: list[Json] = []
    merged: dict[str, Json] = {}
    for app in apps:
        labels = _required(app, "labels", app)
        if GROUP not in labels:
            alone.append(app)
            continue
        group = labels[GROUP]
        if not group:
            raise Undecidable("IndexError: string index out of range", f"Label {GROUP} of {app['id']} is empty")
        named = {**app, "group": group if group.startswith("/") else f"/{group}"}
        previous = merged.get(named["group"])
        merged[named["group"]] = named if previous is None else _merged(previous, named)
    # The id is kept until here, so that errors name the app and not its group.
    return [*alone, *({**app, "id": group} for group, app in merged.items())]


def _merged(previous: Json, current: Json) -> Json:
    """Return two apps of a group as one: the app that does not receive, with the tasks of both.

    With more than two apps, ``previous`` is already the result of a merge and counts as the app it has come from.
    """
    other, receiver, target = _roles(previous, current)
    # marathon-lb looks at the health checks of the app that it happens to have listed last, not at the receiver's.
    # Without any it takes the wanted instances for running ones: nothing proves that they serve.
    healthy = healthy_count(receiver) if current.get("healthChecks") else _required(receiver, "instances", receiver)
    tasks = sorted(other["tasks"], key=lambda task: task["id"])
    count = drained_count(len(tasks), _required(other, "instances", other), healthy, target)
    drained = [{**task, "draining": True} for task in tasks[:count]]
    return {**other, "tasks": [*drained, *tasks[count:], *receiver["tasks"]]}


def _roles(previous: Json, current: Json) -> tuple[Json, Json, int]:
    """Return the app that gives traffic away, the one that receives it, and how many tasks have to keep traffic.

    The first answer comes from the dates, the second one from the last scaling, but only if the receiver by date has
    zdd.py's label. The target then is the label of whoever receives in the end. Without the label it is one task.
    """
    try:
        previous_is_older = _started_at(previous) < _started_at(current)
    except TypeError as error:
        raise Undecidable(
            f"TypeError: {error}",
            f"Label {STARTED_AT} has a time zone on one of {previous['id']} and {current['id']} and none on the other",
        ) from error
    old, new = (previous, current) if previous_is_older else (current, previous)
    # zdd.py means "0 instances" as "no hybrid", but marathon-lb compares the text with the number 0: the value of the
    # label never matters, only that it is there.
    if NEW_INSTANCES not in new["labels"]:
        return old, new, 1
    new_time, old_time = _scaled_at(new), _scaled_at(old)
    if old_time > new_time:
        old, new = new, old
    return old, new, _number(_required(new["labels"], TARGET_INSTANCES, new), TARGET_INSTANCES, new)


def _started_at(app: Json) -> datetime:
    """Return when the app was deployed; an app that does not say so is older than any other."""
    text = app["labels"].get(STARTED_AT)
    return datetime.min if text is None else parse_time(text)  # noqa: DTZ901 - naive as in marathon-lb, on purpose


def _scaled_at(app: Json) -> datetime:
    info = _required(app, "versionInfo", app)
    return parse_time(_required(info, "lastScalingAt", app))


def _services_of(
    app: Json,
    groups: frozenset[str],
    health_check: bool,
    resolve: Callable[[str], str],
    remembered: Mapping[str, bool],
) -> list[Service]:
    """Return the services of an app (or merged group) that have at least one server and belong to ``groups``."""
    ports = _service_ports(app)
    # All labels are read, also those of ports without servers: one bad number breaks marathon-lb off for all apps.
    # A port that is listed twice is one service to it, with the labels of its last place.
    by_port = {port: (index, _service(app, index, port)) for index, port in enumerate(ports)}
    servers: dict[int, list[Server]] = {port: [] for port in ports}
    for task in app["tasks"]:
        if not _listed(app, task, health_check, remembered):
            continue
        ip, task_ports = _task_address(app, task, resolve)
        if not ip:
            continue
        for task_port, service_port in zip(task_ports, ports, strict=False):
            servers[service_port].append(
                Server(
                    name=server_name(task["host"], ip, task_port),
                    host=task["host"],
                    ip=ip,
                    port=task_port,
                    draining=task.get("draining", False),
                    task_id=task["id"],
                )
            )
    listed = [
        (index, replace(service, servers=tuple(sorted(servers[port], key=lambda server: (server.host, server.port)))))
        for port, (index, service) in by_port.items()
        if servers[port]
    ]
    return [
        service
        for index, service in _with_check_ports(app, listed)
        if _in_groups(app["labels"], index, groups) and _enabled(app, index)
    ]


def _service(app: Json, index: int, port: int) -> Service:
    """Return the ``index``-th service of an app, without servers."""
    labels = _labels_of_service(app["labels"], index)
    check = _health_check(app, index)
    mode = "http" if check is not None and check["protocol"] == "HTTP" else None
    mode = labels["MODE"].lower() if "MODE" in labels else mode
    if check is None and "BACKEND_HEALTHCHECK_PORT_INDEX" in labels:
        check = _health_check(app, _check_index(app, index))
        if check is not None and check["protocol"] in ("HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"):
            mode = "http"
    vhost = labels["VHOST"].lower() if "VHOST" in labels else None
    return Service(
        app_id=app["id"],
        port=_number(labels["PORT"], f"HAPROXY_{index}_PORT", app) if "PORT" in labels else port,
        mode=mode or ("http" if vhost else "tcp"),
        balance=labels.get("BALANCE", "roundrobin"),
        sticky=_true(labels.get("STICKY", "")),
        vhost=vhost,
        bind_address=labels.get("BIND_ADDR", "*"),
        bind_options=labels.get("BIND_OPTIONS"),
        check=check,
        templates={name: text.replace("\r\n", "\n") for name, text in labels.items()},
    )


def _with_check_ports(app: Json, listed: Sequence[tuple[int, Service]]) -> list[tuple[int, Service]]:
    """Fill in ``check_ports``: an app may have the health of one port decide about another one's servers."""
    siblings = sorted((service for _index, service in listed), key=lambda service: service.port)
    return [
        (index, replace(service, check_ports=_check_ports(service, siblings, _check_index(app, index))))
        for index, service in listed
    ]


def _check_ports(service: Service, siblings: Sequence[Service], check_index: int | None) -> tuple[int | None, ...]:
    if service.check is None:
        return (None,) * len(service.servers)
    if check_index is None:
        return (service.check.get("port"),) * len(service.servers)
    # An index that is out of bounds means the server's own port, but the first one out of bounds breaks off.
    if abs(check_index) > len(siblings):
        return tuple(server.port for server in service.servers)
    try:
        checked = siblings[check_index].servers
        return tuple(checked[position].port for position in range(len(service.servers)))
    except IndexError as error:
        raise Undecidable(
            "IndexError: list index out of range",
            f"{service.app_id} has no server to check for BACKEND_HEALTHCHECK_PORT_INDEX {check_index}",
        ) from error


def _check_index(app: Json, index: int) -> int | None:
    label = f"HAPROXY_{index}_BACKEND_HEALTHCHECK_PORT_INDEX"
    return _number(app["labels"][label], label, app) if label in app["labels"] else None


def _labels_of_service(labels: Mapping[str, str], index: int) -> dict[str, str]:
    """Return the labels ``HAPROXY_<index>_NAME`` by NAME."""
    prefix = f"HAPROXY_{index}_"
    return {name.removeprefix(prefix): text for name, text in labels.items() if name.startswith(prefix)}


def _in_groups(labels: Mapping[str, str], index: int, groups: frozenset[str]) -> bool:
    """Whether this marathon-lb serves the port: the port's own group label takes precedence over the app's."""
    own = labels.get(f"HAPROXY_{index}_GROUP", labels.get("HAPROXY_GROUP"))
    return "*" in groups or (own is not None and not groups.isdisjoint(own.split(",")))


def _enabled(app: Json, index: int) -> bool:
    return _true(app["labels"].get(f"HAPROXY_{index}_ENABLED", "true"))


def _listed(app: Json, task: Json, health_check: bool, remembered: Mapping[str, bool]) -> bool:
    """Whether the task gets a server."""
    if not task.get("host") or task.get("state") in EXCLUDED_STATES:
        return False
    if not health_check or not app.get("healthChecks"):
        return True
    return _alive(task) if "healthCheckResults" in task else remembered.get(task["id"], False)


def _alive(task: Json) -> bool:
    return any(_required(result, "alive", task) for result in task["healthCheckResults"])


def _health_check(app: Json, port_index: int | None) -> Json | None:
    """Return the health check of a port: the first with a fixed ``port``, or with this ``portIndex``."""
    for check in app.get("healthChecks", ()):
        if check.get("port") or check.get("portIndex") == port_index:
            return check
    return None


def _network_mode(app: Json) -> str:
    """Return ``host``, ``container/bridge`` or ``container``, from the forms of Marathon up to 1.4 and from 1.5 on."""
    mode = "container" if app.get("ipAddress") else "host"
    docker = app.get("container", {}).get("docker", {}).get("network")
    mode = {"USER": "container", "BRIDGE": "container/bridge"}.get(docker, mode)
    for network in app.get("networks", ()):
        mode = network.get("mode", "container")
    return mode


def _port_mappings(app: Json) -> Sequence[Json]:
    container = app.get("container", {})
    return container.get("docker", {}).get("portMappings") or container.get("portMappings", ())


def _service_ports(app: Json) -> list[int]:
    if _network_mode(app) in ("container", "container/bridge"):
        mapped = [mapping["servicePort"] for mapping in _port_mappings(app) if "servicePort" in mapping]
        if mapped:
            return mapped
    if "portDefinitions" in app:
        return _defined_ports(app)
    return list(app.get("ports", ()))


def _defined_ports(app: Json) -> list[int]:
    return [definition["port"] for definition in app.get("portDefinitions", ()) if "port" in definition]


def _task_address(app: Json, task: Json, resolve: Callable[[str], str]) -> tuple[str, Sequence[int]]:
    """Return the address and the ports at which a task is reached; an empty address when it has none (yet)."""
    mode = _network_mode(app)
    container_ports = [mapping["containerPort"] for mapping in _port_mappings(app) if "containerPort" in mapping]
    if mode == "host":
        return resolve(task["host"]), task.get("ports") or _defined_ports(app)
    if mode == "container/bridge":
        return resolve(task["host"]), task.get("ports") or _defined_ports(app) or container_ports
    addresses = task.get("ipAddresses")
    discovery = app.get("ipAddress", {}).get("discovery", {}).get("ports", ())
    discovered = [int(port["number"]) for port in discovery if "number" in port]
    return (addresses[0].get("ipAddress", "") if addresses else ""), discovered or container_ports


def server_lines(service: Service) -> list[str]:
    """Return the lines of the backend's servers, made from the app's own templates where it has any.

    An app's own ``BACKEND_SERVER_OPTIONS`` may leave out the placeholder ``{otherOptions}``: marathon-lb can then not
    drain its tasks.
    """
    lines = []
    taken: set[int] = set()
    for server, check_port in zip(service.servers, service.check_ports, strict=True):
        number = server_id(server.name, taken)
        taken.add(number)
        cookie = hashlib.sha1(server.name.encode(), usedforsecurity=False).hexdigest()[:10]
        lines.append(
            filled_in(
                service,
                "BACKEND_SERVER_OPTIONS",
                SERVER_TEMPLATE,
                host=server.host,
                host_ipv4=server.ip,
                port=server.port,
                serverName=server.name,
                serverId=number,
                cookieOptions=f" check cookie {cookie}" if service.sticky else "",
                healthCheckOptions=_server_check(service, check_port),
                otherOptions=" disabled" if server.draining else "",
            )
        )
    return lines


def _server_check(service: Service, check_port: int | None) -> str:
    if not service.checks_by_tcp and not service.checks_by_http:
        return ""
    name = f"BACKEND_SERVER_{'TCP' if service.checks_by_tcp else 'HTTP'}_HEALTHCHECK_OPTIONS"
    words = filled_in(service, name, SERVER_CHECK_TEMPLATE, **check_placeholders(service, check_port)).strip()
    return f" {words}" if words else ""


def check_placeholders(service: Service, check_port: int | None) -> dict[str, Any]:
    """Return what the templates of health checks may name. Times are seconds."""
    check = service.check or {}
    timeout, interval, grace, failures = (
        _required(check, key, {"id": f"The health check of {service.app_id}"})
        for key in ("timeoutSeconds", "intervalSeconds", "gracePeriodSeconds", "maxConsecutiveFailures")
    )
    return {
        "healthCheck": check,
        "healthCheckPortIndex": check.get("portIndex"),
        "healthCheckPort": check_port,
        "healthCheckProtocol": check["protocol"],
        "healthCheckPath": check.get("path", "/"),
        "healthCheckTimeoutSeconds": timeout,
        "healthCheckIntervalSeconds": interval,
        "healthCheckGracePeriodSeconds": grace,
        "healthCheckMaxConsecutiveFailures": failures,
        "healthCheckFalls": failures + 1,
        "healthCheckPortOptions": f" port {check_port}" if check_port else "",
    }


def filled_in(service: Service, name: str, default: str, **values: Any) -> str:
    """Return the app's own template ``name``, or ``default``, with its ``{placeholders}`` replaced."""
    template = service.templates.get(name, default)
    try:
        return template.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise Undecidable(
            f"{type(error).__name__}: {error}",
            f"The label for {name} of {service.app_id} has a placeholder that marathon-lb does not know",
        ) from error


def _rows(service: Service) -> list[dict[str, Any]]:
    """Return the servers as HAProxy reads them: from the words of their lines."""
    return [
        {
            "backend": service.backend,
            "server": server.name,
            "address": f"{server.ip}:{server.port}",
            "disabled": "disabled" in line.split(),
            "check": "check" in line.split(),
            "cookie": "cookie" in line.split(),
        }
        for server, line in zip(service.servers, server_lines(service), strict=True)
    ]


def _without_nulls(value: Any) -> Any:
    """Return a copy without keys and elements that are null: marathon-lb treats these as absent."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(element) for key, element in value.items() if element is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(element) for element in value if element is not None]
    return value


def _required(holder: Json, key: str, owner: Json) -> Any:
    """Return ``holder[key]``; ``owner`` (an app or a task) is named when it is missing."""
    if key not in holder:
        raise Undecidable(f"KeyError: {key!r}", f"{owner.get('id')} has no {key}")
    return holder[key]


def _number(text: str, label: str, app: Json) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Undecidable(f"ValueError: {error}", f"Label {label} of {app['id']} is {text!r}, not a number") from error


def _true(text: str) -> bool:
    return text.lower() in ("true", "t", "yes", "y")
