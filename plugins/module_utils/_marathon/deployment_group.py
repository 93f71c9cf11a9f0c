# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployment groups on Marathon behind marathon-lb: their labels, their definitions, and what is observed of them.

Facts: reference A9 (what marathon-lb makes of a group) and A13 (what it takes to turn all traffic at will).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .._errors import InvalidInput
from .._haproxy.marathon_lb import LbView, Server, servers_of
from .._haproxy.marathon_lb_decision import (
    EXCLUDED_STATES,
    GROUP,
    NEW_INSTANCES,
    STARTED_AT,
    TARGET_INSTANCES,
    Undecidable,
    decide,
    parse_time,
)
from .._rollout.state import COLOURS, Colour, Group, Traffic
from .definitions import app_path, differences, service_ports

COLOUR = "HAPROXY_DEPLOYMENT_COLOUR"
ALT_PORT = "HAPROXY_DEPLOYMENT_ALT_PORT"
VERSION = "ZDD_VERSION"

# Every server starts UP in a new configuration instead of in the state in which the old worker had it: without this a
# server that leaves MAINT is DOWN until its checks have passed (reference A12).
FRESH_STATE = "load-server-state-from-file none"
STOCK_BACKEND_HEAD = "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n"

# A touch needs room for one more instance; these constraints may leave none (reference A13).
_NARROW_CONSTRAINTS = frozenset({"UNIQUE", "MAX_PER", "CLUSTER"})

_OWN_LABELS = frozenset({GROUP, COLOUR, STARTED_AT, TARGET_INSTANCES, NEW_INSTANCES, VERSION, "HAPROXY_APP_ID"})
_ID_SEGMENT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_BACKEND_HEAD = re.compile(r"HAPROXY_(\d+_)?BACKEND_HEAD")

_GONE_STATES = EXCLUDED_STATES - {"TASK_STAGING", "TASK_STARTING"}

Json = Mapping[str, Any]


def group_name(definition: Json, name: str | None = None) -> str:
    """The deployment group: ``name``, else the label of the definition, else made from its id.

    Without the leading ``/``, which marathon-lb adds itself. One that is made up has no other ``/`` either: it becomes
    ``_`` in HAProxy's names, and people look for these.
    """
    labels = definition.get("labels") or {}
    found = name or labels.get(GROUP) or app_path(definition["id"]).strip("/").replace("/", "_")
    found = found.removeprefix("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", found):
        raise InvalidInput(
            "invalid_option",
            f"The deployment group {found!r} may have letters, digits, '.', '_', '-' and '/' between them only "
            f"(label {GROUP}).",
        )
    return found


def check_definition(definition: Json, *, marathon_lb: bool = True) -> None:
    """Refuse a definition that cannot be rolled out without losing requests, behind ``marathon_lb`` or plain HAProxy.

    :raises InvalidInput: names the field, what was found and what is needed.
    """
    app_id = definition.get("id")
    if not isinstance(app_id, str) or not app_id.strip("/"):
        raise InvalidInput(
            "invalid_definition", f"The definition's id is {app_id!r}; it has to be a path like /shop/web."
        )
    for segment in app_path(app_id).strip("/").split("/"):
        if not _ID_SEGMENT.fullmatch(segment):
            raise InvalidInput(
                "invalid_definition",
                f"The definition's id is {app_id!r}; {segment!r} in it may have lower case letters, digits, '-' and "
                "'.' only, and begins and ends with a letter or a digit.",
            )
    labels = definition.get("labels") or {}
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise InvalidInput("invalid_definition", f"{app_id}: labels has to be a dictionary of texts.")
    if marathon_lb and not any(re.fullmatch(r"HAPROXY_(\d+_)?GROUP", name) for name in labels):
        raise InvalidInput(
            "invalid_definition",
            f"{app_id}: no label HAPROXY_GROUP; marathon-lb serves only apps that name its group.",
        )
    if not definition.get("healthChecks"):
        raise InvalidInput(
            "invalid_definition",
            f"{app_id}: no healthChecks; without one the old version is drained before the new one can answer.",
        )
    instances = definition.get("instances")
    if instances is not None and (isinstance(instances, bool) or not isinstance(instances, int) or instances < 1):
        raise InvalidInput("invalid_definition", f"{app_id}: instances is {instances!r}; a rollout needs at least 1.")
    colour = labels.get(COLOUR)
    if colour is not None and colour not in COLOURS:
        raise InvalidInput(
            "unknown_colour", f"{app_id}: label {COLOUR} is {colour!r}; the colours are {' and '.join(COLOURS)}."
        )
    if not _port_places(definition):
        raise InvalidInput(
            "invalid_definition",
            f"{app_id}: no port; a load balancer needs portDefinitions, or portMappings of the container.",
        )


def colour_definition(
    definition: Json,
    *,
    colour: str,
    group: str,
    version: str,
    started_at: str,
    target: int,
    instances: int,
    turnable: bool,
    fresh_state: bool,
    live_ports: Sequence[int] = (),
) -> dict[str, Any]:
    """The definition of one colour.

    ``turnable``: the app that was scaled last receives the traffic (label ``NEW_INSTANCES``); without it, the app that
    was started last does. ``fresh_state``: see ``FRESH_STATE``. ``live_ports`` are the service ports of the live app,
    used where the definition leaves them to Marathon: both colours have to share them.
    """
    made = _with_service_ports(definition, live_ports)
    labels = {name: value for name, value in (made.get("labels") or {}).items() if name not in _OWN_LABELS}
    labels |= {
        GROUP: group,
        COLOUR: colour,
        STARTED_AT: started_at,
        TARGET_INSTANCES: str(target),
        VERSION: version,
        "HAPROXY_APP_ID": app_path(definition["id"]),
    }
    if turnable:
        labels[NEW_INSTANCES] = "0"
    if fresh_state:
        for index in range(len(_port_places(definition))):
            name = f"HAPROXY_{index}_BACKEND_HEAD"
            labels[name] = _with_fresh_state(labels.get(name, STOCK_BACKEND_HEAD))
    return {**made, "id": f"{app_path(definition['id'])}-{colour}", "instances": instances, "labels": labels}


def started_at(group_apps: Sequence[Json], now: datetime) -> str:
    """A value for the label STARTED_AT that is later than that of all apps of the group; ``now`` is aware.

    Naive UTC, since marathon-lb cannot compare naive with aware times and breaks off for all apps; aware only where
    the group's apps are (somebody else wrote them so). zdd.py writes local time, which may lie in the future.
    """
    times = [parse_time(text) for app in group_apps if (text := app["labels"].get(STARTED_AT))]
    aware = any(time.tzinfo for time in times)
    moment = now.astimezone(UTC)
    if not aware:
        moment = moment.replace(tzinfo=None)
    latest = max((time for time in times if bool(time.tzinfo) == aware), default=None)
    if latest is not None and latest >= moment:
        moment = latest + timedelta(microseconds=1)
    return moment.isoformat(timespec="microseconds")


def by_age(group_apps: Sequence[Json]) -> list[Json]:
    """The apps of a group, the one that was started first at the front, as marathon-lb orders them.

    :raises InvalidInput: a start time that marathon-lb cannot read either; more than two apps.
    """
    if len(group_apps) > 2:
        ids = ", ".join(sorted(app["id"] for app in group_apps))
        raise InvalidInput(
            "too_many_apps",
            f"The deployment group has {len(group_apps)} apps ({ids}); a rollout is between two. Remove the one that "
            "does not belong to it.",
        )
    try:
        times = {app["id"]: _start_time(app) for app in group_apps}
        return sorted(group_apps, key=lambda app: times[app["id"]])
    except (Undecidable, TypeError) as error:
        raise InvalidInput(
            "unreadable_group", f"marathon-lb cannot order the apps of the group by the label {STARTED_AT}: {error}"
        ) from None


def _start_time(app: Json) -> datetime:
    text = app["labels"].get(STARTED_AT)
    return parse_time(text) if text else datetime.min  # noqa: DTZ901  naive, as marathon-lb takes it


def colour_of(app: Json) -> str | None:
    """The colour of a live app, ``None`` when it says none.

    :raises InvalidInput: it says one that is neither blue nor green.
    """
    colour = (app.get("labels") or {}).get(COLOUR)
    if colour is None:
        ending = app["id"].rpartition("-")[2]
        return ending if ending in COLOURS else None
    if colour not in COLOURS:
        raise InvalidInput(
            "unknown_colour", f"{app['id']}: label {COLOUR} is {colour!r}; the colours are {' and '.join(COLOURS)}."
        )
    return colour


def version_of(app: Json) -> str:
    """What people call the version: by the label ``ZDD_VERSION``, the image, the variable VERSION, or Marathon."""
    labels, env = app.get("labels") or {}, app.get("env") or {}
    image = ((app.get("container") or {}).get("docker") or {}).get("image") or ""
    tagged, _at, digest = image.rpartition("/")[2].partition("@")
    tag = tagged.partition(":")[2] or digest
    named = env.get("VERSION") if isinstance(env.get("VERSION"), str) else None
    return str(labels.get(VERSION) or tag or named or app.get("version") or "unnamed")


def observe(
    name: str, group_apps: Sequence[Json], views: Sequence[LbView], heads: Sequence[str], known_hosts: frozenset[str]
) -> Group:
    """The group as Marathon and the LBs show it.

    ``heads`` are the live configurations of the LBs, as text; ``known_hosts`` the agents that are known to exist.
    """
    aged = by_age(group_apps)
    colours = [_colour(app, aged, views, heads, known_hosts) for app in aged]
    return Group(name, colours[0] if colours else None, colours[1] if len(colours) > 1 else None)


def alive_tasks(app: Json) -> list[Json]:
    """The tasks that Marathon has seen running and alive."""
    return [task for task in app.get("tasks") or () if is_alive(task)]


def is_alive(task: Json) -> bool:
    """Whether a task runs and all its health checks that have a result say so; without a result it is not."""
    results = task.get("healthCheckResults") or ()
    return task.get("state") == "TASK_RUNNING" and bool(results) and all(result.get("alive") for result in results)


def listed_tasks(app: Json) -> list[Json]:
    """The tasks that marathon-lb lists, and that may serve: one check result that is alive is enough for it."""
    return [task for task in app.get("tasks") or () if may_serve(task)]


def may_serve(task: Json) -> bool:
    """Whether marathon-lb lists the task, by its rule (reference A9-4 and pass 2)."""
    results = task.get("healthCheckResults") or ()
    return task.get("state") not in EXCLUDED_STATES and any(result.get("alive") for result in results)


def launched_tasks(app: Json) -> list[Json]:
    """The tasks that are there and are meant to stay: scheduled ones are not, nor those that die or are dead."""
    return [task for task in app.get("tasks") or () if task.get("state") not in _GONE_STATES]


def _colour(
    app: Json, apps: Sequence[Json], views: Sequence[LbView], heads: Sequence[str], known_hosts: frozenset[str]
) -> Colour:
    why_not = why_not_turnable(app, heads, known_hosts)
    target = target_of(app)
    instances = app["instances"]
    if target is not None and instances > target == len(launched_tasks(app)):
        instances = target  # an extra instance of a touch that no agent has taken yet is no instance
    return Colour(
        app_id=app["id"],
        colour=colour_of(app),
        version=version_of(app),
        instances=instances,
        healthy=len(alive_tasks(app)),
        target=target,
        traffic=traffic_of(app, [other for other in apps if other is not app], views),
        turnable=why_not is None,
        why_not=why_not,
        busy=bool(app.get("deployments")),
    )


def target_of(app: Json) -> int | None:
    """The count that the app was deployed for, by its label; ``None`` where it has none."""
    text = (app.get("labels") or {}).get(TARGET_INSTANCES) or ""
    return int(text) if text.isdecimal() else None


def why_not_turnable(app: Json, heads: Sequence[str], known_hosts: frozenset[str]) -> str | None:
    """Why the traffic cannot be turned to or from ``app`` at once by touching it; ``None`` when it can."""
    target = target_of(app)
    if target is None:
        return f"{app['id']} has no label {TARGET_INSTANCES} (it was not deployed by this collection)."
    if target > app["instances"]:
        return f"{app['id']} was scaled from {target} to {app['instances']}, which marathon-lb does not know."
    if not has_fresh_state(app, heads):
        return f"{app['id']} has no label HAPROXY_0_BACKEND_HEAD with {FRESH_STATE!r}."
    if not room_for_one_more(app, known_hosts):
        return f"the constraints of {app['id']} leave no room for one more instance on the agents that are known."
    return None


def has_fresh_state(app: Json, heads: Sequence[str]) -> bool:
    """Whether servers of the app's backends start UP after a reload: by its labels, or by the LBs' own template."""
    labels = app.get("labels") or {}
    count = max(1, len(_port_places(app)))
    if all(FRESH_STATE in labels.get(f"HAPROXY_{index}_BACKEND_HEAD", "") for index in range(count)):
        return True
    names = {server.backend for task in app.get("tasks") or () for server in servers_of(app, task)}
    return bool(heads and names) and all(
        FRESH_STATE in "\n".join(backend_lines(text, name)) for text in heads for name in names
    )


def template_is_stock(heads: Sequence[str]) -> bool:
    """Whether the backends in the live configurations begin as in marathon-lb's own template.

    A label ``HAPROXY_n_BACKEND_HEAD`` replaces the operators' own template, so it is written only where that is the
    stock one: ``balance`` and ``mode`` come first, and nothing else but what other templates add follows.
    """
    added = ("option", "http-request", "http-check", "timeout", "server", "cookie", "acl", FRESH_STATE, "tcp-check")
    for text in heads:
        for name in backend_names(text):
            words = [line for line in backend_lines(text, name) if not line.startswith("#")]
            if len(words) >= 2 and not (words[0].startswith("balance ") and words[1].startswith("mode ")):
                return False
            if any(not line.startswith(added) for line in words[2:]):
                return False
    return True


def backend_names(text: str) -> list[str]:
    """The names of the backends in a configuration."""
    return re.findall(r"^backend\s+(\S+)", text, re.MULTILINE)


def backend_lines(text: str, name: str) -> list[str]:
    """The lines of one backend in a configuration, stripped, without empty ones."""
    match = re.search(rf"^backend\s+{re.escape(name)}\s*$(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for line in match[1].splitlines() if line.strip()] if match else []


def room_for_one_more(app: Json, known_hosts: frozenset[str]) -> bool:
    """Whether the constraints allow one more instance on an agent that is known.

    Marathon does not list its agents: ``known_hosts`` are those on which some task has been seen.
    """
    taken = [task.get("host") for task in app.get("tasks") or ()]
    for constraint in app.get("constraints") or ():
        field, operator, *value = constraint
        if operator not in _NARROW_CONSTRAINTS:
            continue
        most = int(value[0]) if operator == "MAX_PER" and value and str(value[0]).isdecimal() else 1
        if field not in ("hostname", "@hostname") or operator == "CLUSTER":
            return False
        if not any(taken.count(host) < most for host in known_hosts):
            return False
    return True


def traffic_of(app: Json, others: Sequence[Json], views: Sequence[LbView]) -> Traffic:
    """What the LBs send to ``app``, over all of its service ports."""
    own = [server for task in alive_tasks(app) for server in servers_of(app, task)]
    foreign = [server for other in others for task in other.get("tasks") or () for server in servers_of(other, task)]
    admitted = [admits(view, server) for view in views for server in own]
    if not any(admitted):
        return Traffic.NONE
    shared = any(admits(view, server) for view in views for server in foreign)
    return Traffic.ALL if all(admitted) and not shared else Traffic.SOME


def sessions_of(view: LbView, app: Json) -> int:
    """How many requests an LB had open or queued at the tasks of an app when it was asked."""
    rows = view.rows or {}
    servers = {key for task in app.get("tasks") or () for server in servers_of(app, task) for key in view.named(server)}
    return sum(rows[key].scur + rows[key].qcur for key in servers if key in rows)


def admits(view: LbView, server: Server) -> bool:
    """Whether an LB sends new requests to a server, by its statistics."""
    rows = view.rows or {}
    found = [rows[key] for key in view.named(server) if key in rows]
    return bool(found) and all(row.is_up or row.is_unchecked for row in found)


def same_version(definition: Json, live: Json) -> bool:
    """Whether the live app runs ``definition``, its colour, its count and the rollout's own labels aside."""
    return not differences(_bare(definition, live), _bare(live, live))


def assigned_ports(app: Json) -> list[int]:
    """The service ports of a live app in order, as Marathon has assigned them or a label says instead."""
    return [port for port in service_ports(app) if port]


def receiver(group_apps: Sequence[Json]) -> Json | None:
    """The app that marathon-lb sends the traffic to, by the rules of reference A9; ``None`` in an empty group.

    :raises Undecidable: marathon-lb cannot decide.
    """
    if len(group_apps) < 2:
        return group_apps[0] if group_apps else None
    old, new = by_age(group_apps)
    if NEW_INSTANCES not in new["labels"]:
        return new
    return old if parse_time(_scaled_at(old)) > parse_time(_scaled_at(new)) else new


def enabled_by(group_apps: Sequence[Json], resolve: Callable[[str], str]) -> set[tuple[str, str]]:
    """Backend and server of what marathon-lb would send requests to, were these the apps.

    :raises Undecidable: it would write no configuration at all.
    """
    rows = decide(group_apps, groups=lb_groups(group_apps), resolve=resolve)["servers"]
    return {(row["backend"], row["server"]) for row in rows if not row["disabled"]}


def lb_groups(group_apps: Sequence[Json]) -> set[str]:
    """The values of the labels ``HAPROXY_GROUP`` and ``HAPROXY_n_GROUP``."""
    return {
        word
        for app in group_apps
        for name, value in (app.get("labels") or {}).items()
        if re.fullmatch(r"HAPROXY_(\d+_)?GROUP", name)
        for word in value.split(",")
    }


def _scaled_at(app: Json) -> str:
    info = app.get("versionInfo") or {}
    if "lastScalingAt" not in info:
        raise Undecidable("KeyError: 'lastScalingAt'", f"{app['id']} has no versionInfo.lastScalingAt")
    return info["lastScalingAt"]


def _bare(definition: Json, live: Json) -> dict[str, Any]:
    """A definition without what the rollout itself adds; ``id`` and ``instances`` are those of the live app.

    zdd.py adds more: it gives the second colour another port, ``ALT_PORT``, and both a label with the one that counts.
    """
    made = _copy(definition)
    own = {*_OWN_LABELS, ALT_PORT}
    labels = {name: value for name, value in (made.get("labels") or {}).items() if name not in own}
    for index, (place, key) in enumerate(_port_places(made)):
        port = labels.get(f"HAPROXY_{index}_PORT") or ""
        if port.isdecimal():
            place[key] = int(port)
            del labels[f"HAPROXY_{index}_PORT"]
    for name in [name for name in labels if _BACKEND_HEAD.fullmatch(name)]:
        labels[name] = "".join(line for line in labels[name].splitlines(True) if FRESH_STATE not in line)
        if labels[name] == STOCK_BACKEND_HEAD:
            del labels[name]
    return {**made, "labels": labels, "id": live["id"], "instances": live["instances"]}


def _with_fresh_state(head: str) -> str:
    if FRESH_STATE in head:
        return head
    return f"{head if head.endswith(chr(10)) else head + chr(10)}  {FRESH_STATE}\n"


def _port_places(definition: Json) -> list[tuple[Any, str | int]]:
    """Where the service ports of a definition stand: (holder, key), in marathon-lb's order (reference A9, pass 2)."""
    container = definition.get("container") or {}
    mappings = (container.get("docker") or {}).get("portMappings") or container.get("portMappings")
    if mappings:
        return [(mapping, "servicePort") for mapping in mappings]
    if definition.get("portDefinitions") is not None:
        return [(port, "port") for port in definition["portDefinitions"]]
    return [(definition.get("ports") or [], index) for index in range(len(definition.get("ports") or ()))]


def _port_at(place: Any, key: str | int) -> int | None:
    return place.get(key) if isinstance(key, str) else place[key]


def _with_service_ports(definition: Json, ports: Sequence[int]) -> dict[str, Any]:
    """A copy whose service ports that are 0 or left out are those of ``ports``, by position."""
    made = _copy(definition)
    for (place, key), port in zip(_port_places(made), ports, strict=False):
        if not _port_at(place, key):
            place[key] = port
    return made


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value
