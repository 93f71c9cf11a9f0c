# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a service is what its definition says, or cannot become it.

A service's count of replicas says how many are wanted, and Docker's update state says what was done; neither says that
anything serves. The tasks do (``tasks.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._errors import Hopeless, InvalidInput, NotFound, Rejected
from .._invocation.context import Context
from .._wait import WAIT_SPEC, Pauses, wait_until
from .client import Swarm
from .tasks import (
    ENDED_STATES,
    ENDPOINTS,
    HOST,
    OVERLAY,
    address_of,
    error_of,
    facts,
    failed,
    failures,
    is_ready,
    may_serve,
    node_name,
    publishes,
    replicas_of,
    slot_of,
    state_of,
    wanted,
)

CONVERGENCE_SPEC: dict[str, Any] = {
    "monitor_seconds": {"type": "float", "default": 5},
    "max_failures": {"type": "int", "default": 3},
    "unschedulable_timeout": {"type": "float", "default": 30},
    **WAIT_SPEC,
}

ENDPOINT_SPEC: dict[str, Any] = {
    "target_port": {"type": "int"},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": HOST},
    "network": {"type": "str"},
}

ENDPOINT_RULES: dict[str, Any] = {"required_if": [("endpoint", OVERLAY, ("network", "target_port"))]}

_LONGEST_PAUSE = 0.5
# A task that ended later than this after its creation has lived: it is no part of a crash loop that goes on. Seconds.
_SHORT_LIFE = 120.0

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """A service and its tasks at one moment. ``current``: the ids of those that run its present definition.

    ``at`` is a time of ``Context.now``, in seconds; ``nodes`` are there by id.
    """

    service: Json
    tasks: Sequence[Json]
    current: frozenset[str]
    nodes: Mapping[str, Json]
    at: float

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service["Spec"]["Name"]

    def of_now(self, task: Json) -> bool:
        """Whether the task is of the present definition.

        Docker tells it of a task that has a node. One that is wanted and still has none was made for the present one.
        """
        return task["ID"] in self.current or (wanted(task) and not task.get("NodeID"))

    def ready(self) -> list[Json]:
        """The tasks of the present definition that are ready."""
        return [task for task in self.tasks if is_ready(task) and self.of_now(task)]

    def coming(self) -> list[Json]:
        """Tasks of the present definition that are wanted, and neither ready nor ended."""
        return [
            task
            for task in self.tasks
            if wanted(task) and self.of_now(task) and not is_ready(task) and state_of(task) not in ENDED_STATES
        ]

    def left_over(self) -> list[Json]:
        """Tasks that serve, or may yet, and should not: those of an earlier definition, and those that are to end.

        What a node does that is down, nobody knows; its tasks are not waited for.
        """
        return [
            task
            for task in self.tasks
            if (may_serve(task) or (wanted(task) and state_of(task) not in ENDED_STATES))
            and not (wanted(task) and self.of_now(task))
            and not self._is_down(task)
        ]

    def lost(self) -> list[Json]:
        """Left over tasks of nodes that are down."""
        return [task for task in self.tasks if may_serve(task) and not wanted(task) and self._is_down(task)]

    def replicas(self) -> int:
        """How many tasks are wanted; of a global service one for each node that it has chosen."""
        count = replicas_of(self.service)
        if count is not None:
            return count
        return max(1, len({task["NodeID"] for task in self.tasks if wanted(task) and task.get("NodeID")}))

    def _is_down(self, task: Json) -> bool:
        return (self.nodes.get(task.get("NodeID", ""), {}).get("Status") or {}).get("State") == "down"


class Watch:
    """Looks at one service again and again: its definition, its tasks, and more only where that has to be known."""

    def __init__(self, swarm: Swarm, name: str) -> None:
        self._swarm = swarm
        self._name = name
        self._seen = False
        self._key: Any = None
        self._current: frozenset[str] = frozenset()
        self._nodes: dict[str, Json] = {}

    def look(self) -> Look:
        """Look once.

        :raises NotFound: there is no such service.
        :raises Hopeless: code ``service_gone``: there was one before.
        """
        try:
            look = self._look()
        except NotFound:
            if not self._seen:
                raise
            raise Hopeless(
                "service_gone",
                f"The service {self._name} was removed while it was waited for.",
                system=self._swarm.url,
            ) from None
        self._seen = True
        return look

    def _look(self) -> Look:
        service = self._swarm.service(self._name)
        tasks = self._swarm.tasks(self._name)
        # Which tasks are current changes with the definition and with what becomes of the tasks, and is asked then.
        states = frozenset((task["ID"], task.get("NodeID"), state_of(task)) for task in tasks)
        if (service["Version"]["Index"], states) != self._key:
            self._current = frozenset(task["ID"] for task in self._swarm.tasks(self._name, up_to_date=True))
            self._key = (service["Version"]["Index"], states)
        look = Look(service, tasks, self._current, self._nodes, self._swarm.context.now())
        named = {task["NodeID"] for task in tasks if task.get("NodeID")}
        if named - set(self._nodes) or look.left_over():  # a node may have gone down with its tasks
            self._nodes = self._swarm.nodes()
            look = Look(service, tasks, self._current, self._nodes, look.at)
        return look


@dataclass
class Convergence:
    """What is still missing, judged over all looks. Times are in seconds.

    ``replicas``: how many the caller expects, ``None`` for what the service wants.
    """

    monitor: float = 5
    max_failures: int = 3
    unschedulable: float = 30
    replicas: int | None = None
    target_port: int | None = None
    endpoint: str = HOST
    network: str | None = None
    _failed: dict[str, Json] = field(default_factory=dict)
    _old_failures: set[str] | None = None
    _unschedulable_since: dict[str, float] = field(default_factory=dict)
    _watched: tuple[frozenset[str], float] | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Convergence:
        """Read ``CONVERGENCE_SPEC``, and ``ENDPOINT_SPEC`` where it is there.

        :raises InvalidInput: a number makes no sense.
        """
        for option, least in (("monitor_seconds", 0), ("max_failures", 1), ("unschedulable_timeout", 0)):
            if params[option] < least:
                raise InvalidInput("invalid_option", f"Option {option}: {params[option]:g} is less than {least}.")
        return cls(
            monitor=params["monitor_seconds"],
            max_failures=params["max_failures"],
            unschedulable=params["unschedulable_timeout"],
            target_port=params.get("target_port"),
            endpoint=params.get("endpoint") or HOST,
            network=params.get("network"),
        )

    def missing(self, look: Look) -> str | None:
        """What forbids to rely on the service; ``None`` when nothing does.

        :raises Hopeless: it cannot come any more.
        :raises Rejected: the service wants another count than the caller.
        """
        self._check(look)
        failed_now = self._count_failures(look)
        self._check_update(look)
        self._check_scheduling(look)
        count, ready = look.replicas(), look.ready()
        left_over = look.left_over()
        unready = self._unready(look, ready, count)
        if unready or left_over:
            self._watched = None
            return "; ".join([*unready, *_still_there(look, left_over)])
        if count == 0:
            return None
        ids = frozenset(task["ID"] for task in ready)
        if self._watched is None or self._watched[0] != ids or failed_now:
            self._watched = (ids, look.at)
        if look.at - self._watched[1] < self.monitor:
            return f"{_ready_text(look, ready, count)}, and watched for {self.monitor:g} s"
        return None

    def _unready(self, look: Look, ready: Sequence[Json], count: int) -> list[str]:
        # More than are wanted: Docker has not yet chosen which ones are to end.
        if len(ready) != count or look.coming():
            return [_ready_text(look, ready, count) + self._others(look)]
        if self.target_port is None:
            return []
        silent = [task for task in ready if self._address(look, task) is None]
        return [f"{len(silent)} of {count} tasks of {look.name} have no address yet"] if silent else []

    def _others(self, look: Look) -> str:
        """In which states the tasks are that shall become ready, and why those wait that do."""
        ended = [task for task in look.tasks if wanted(task) and look.of_now(task) and failed(task)]
        counts = Counter(_state_text(task) for task in [*look.coming(), *ended])
        return f" ({', '.join(f'{number} {text}' for text, number in sorted(counts.items()))})" if counts else ""

    def _address(self, look: Look, task: Json) -> str | None:
        if self.target_port is None:
            return None
        return address_of(task, look.nodes, self.target_port, self.endpoint, self.network)

    def _check(self, look: Look) -> None:
        mode = look.service["Spec"].get("Mode") or {}
        if "Replicated" not in mode and "Global" not in mode:
            raise Rejected("not_a_service", f"{look.name} is a job, which ends; a service is waited for.")
        if self.replicas is not None and self.replicas != look.replicas() and "Replicated" in mode:
            raise Rejected(
                "replicas_differ",
                f"The service {look.name} wants {look.replicas()} tasks, not the {self.replicas} that are waited for.",
            )
        if self.target_port is not None and self.endpoint == HOST and not publishes(look.service, self.target_port):
            raise InvalidInput(
                "not_published",
                f"The service {look.name} does not publish its port {self.target_port} with mode host, so its tasks "
                "have no addresses of their own.",
            )

    def _count_failures(self, look: Look) -> bool:
        """Count what has failed since the first look; whether anything has since the last one.

        :raises Hopeless: too much has.
        """
        found = {task["ID"]: task for task in look.tasks if failed(task) and look.of_now(task)}
        if self._old_failures is None:
            self._old_failures = set(found) - _crash_loop(look, found)
        new = {key: task for key, task in found.items() if key not in self._old_failures and key not in self._failed}
        self._failed.update(new)
        if not self._failed:
            return False
        latest = failures(self._failed.values())[-1]
        code = _cause_of(error_of(latest))
        most = self.max_failures
        if code == "image_missing":  # each task that is wanted was refused once: there is nothing to try
            most = min(most, max(1, look.replicas()))
        if len(self._failed) >= most and len(look.ready()) < max(1, look.replicas()):
            raise Hopeless(
                code,
                _failures_text(look, list(self._failed.values()), _ADVICE.get(code, "")),
                detail=[_failure(task, look) for task in failures(self._failed.values())],
            )
        return bool(new)

    def _check_update(self, look: Look) -> None:
        """An update that Docker has undone, or will not go on with."""
        update = look.service.get("UpdateStatus") or {}
        state, message = update.get("State") or "", update.get("Message") or ""
        about = failures(self._failed.values())
        why = f" {_failures_text(look, about)}" if about else ""
        if state.startswith("rollback"):
            raise Hopeless(
                "rolled_back",
                f"Docker has brought back the earlier definition of the service {look.name} ({state}: {message}).{why}",
                detail=[_failure(task, look) for task in about],
            )
        old = [task for task in look.tasks if wanted(task) and not look.of_now(task)]
        if state == "paused" and old:
            raise Hopeless(
                "update_paused",
                f"Docker has paused the update of the service {look.name}, with {len(old)} tasks of the earlier "
                f"definition left: {message}.{why}",
                detail=[_failure(task, look) for task in about],
            )

    def _check_scheduling(self, look: Look) -> None:
        """Tasks for which there is no node, for too long."""
        nowhere = {
            task["ID"]: task
            for task in look.tasks
            if state_of(task) == "pending" and wanted(task) and look.of_now(task) and task["Status"].get("Err")
        }
        self._unschedulable_since = {key: self._unschedulable_since.get(key, look.at) for key in nowhere}
        late = [task for key, task in nowhere.items() if look.at - self._unschedulable_since[key] >= self.unschedulable]
        if not late:
            return
        reasons = Counter(error_of(task) for task in late)
        code = "port_conflict" if any("port already in use" in reason for reason in reasons) else "unschedulable"
        told = "; ".join(reasons)
        raise Hopeless(
            code,
            f"For {self.unschedulable:g} s no node has taken {len(late)} of {look.replicas()} tasks of {look.name}: "
            f"{told}.{_ADVICE[code]}",
            detail=[_failure(task, look) for task in late],
        )


def converge(
    swarm: Swarm, context: Context, name: str, convergence: Convergence, *, timeout: float, pause: float
) -> Look:
    """Wait until nothing is missing, and return what was seen then. ``timeout`` and ``pause`` are in seconds.

    :raises DeadlinePassed: with what was missing last.
    :raises Hopeless: it cannot come any more.
    """
    watch = Watch(swarm, name)

    def missing(look: Look) -> str | None:
        context.sample("instances", **{name: len(look.ready())})
        return convergence.missing(look)

    with swarm.blamed(changed=False):
        look = wait_until(
            context,
            watch.look,
            missing,
            timeout=timeout,
            pauses=Pauses(pause, longest=max(_LONGEST_PAUSE, pause)),
        )
    warn_of_lost(context, look)
    context.sample("evidence", text=f"{_ready_text(look, look.ready(), look.replicas())}, no other one runs")
    return look


def warn_of_lost(context: Context, look: Look) -> None:
    """Say which tasks nobody can see."""
    lost = look.lost()
    if lost:
        names = ", ".join(sorted({str(node_name(task, look.nodes)) for task in lost}))
        context.warn(
            f"Nodes that are down had {len(lost)} tasks of {look.name} ({names}); whether those still run is not known."
        )


def task_facts(look: Look, convergence: Convergence) -> list[dict[str, Any]]:
    """The ready tasks of the present definition, by slot, as a result has them."""
    port, endpoint, network = convergence.target_port, convergence.endpoint, convergence.network
    tasks = sorted(look.ready(), key=lambda task: (task.get("Slot") or 0, task["ID"]))
    return [facts(task, look.nodes, port, endpoint, network) for task in tasks]


_CAUSES = (
    ("image_missing", ("No such image",)),
    ("port_conflict", ("address already in use", "port is already allocated")),
    ("unhealthy", ("unhealthy container",)),
)
_ADVICE = {
    "image_missing": " The nodes neither have the image nor can pull it.",
    "port_conflict": (
        " Another task or program has the port. Leave the published port out, then Docker chooses a free one; or stop "
        "what has it."
    ),
    "unhealthy": " The containers run, and their health check fails.",
    "unschedulable": " Check the constraints, the resources that are asked for, and which nodes are active.",
}


def _cause_of(error: str) -> str:
    return next((code for code, words in _CAUSES if any(word in error for word in words)), "crash_loop")


def _crash_loop(look: Look, found: Mapping[str, Json]) -> set[str]:
    """Which failures from before the first look still go on: in a slot that is not ready, the latest without a break.

    A task that has lived for a while breaks it: what was before it is an old story.
    """
    ready = {slot_of(task) for task in look.ready()}
    slots: dict[str, list[Json]] = {}
    for task in look.tasks:
        if look.of_now(task) and slot_of(task) not in ready:
            slots.setdefault(slot_of(task), []).append(task)
    loop = set()
    for tasks in slots.values():
        for task in sorted(tasks, key=lambda task: task["CreatedAt"], reverse=True):
            if task["ID"] not in found and not wanted(task):
                break
            if task["ID"] in found:
                if _lifetime(task) > _SHORT_LIFE:
                    break
                loop.add(task["ID"])
    return loop


def _lifetime(task: Json) -> float:
    """Seconds from the creation of the task to its end."""
    return (_time(task["Status"]["Timestamp"]) - _time(task["CreatedAt"])).total_seconds()


def _time(text: str) -> datetime:
    """A time of the API: RFC 3339, in UTC, with up to nine digits of a second."""
    return datetime.fromisoformat(f"{text[:19]}+00:00")


def _state_text(task: Json) -> str:
    error = task["Status"].get("Err")
    return f"{state_of(task)}: {error}" if error else state_of(task)


def _ready_text(look: Look, ready: Sequence[Json], count: int) -> str:
    return f"{len(ready)} of {count} tasks of {look.name} are ready"


def _still_there(look: Look, left_over: Sequence[Json]) -> list[str]:
    old = sum(not look.of_now(task) for task in left_over)
    ending = len(left_over) - old
    texts = []
    if old:
        texts.append(f"{old} tasks of an earlier definition of {look.name} still run")
    if ending:
        texts.append(f"{ending} tasks of {look.name} are still ending")
    return texts


def _failures_text(look: Look, tasks: Sequence[Json], advice: str = "") -> str:
    """Each error once, with how often and where."""
    where: dict[str, Counter[str]] = {}
    for task in tasks:
        where.setdefault(error_of(task), Counter())[node_name(task, look.nodes) or "no node"] += 1
    errors = "; ".join(
        f"{error} (on {', '.join(f'{node}: {times}' for node, times in sorted(nodes.items()))})"
        for error, nodes in where.items()
    )
    many = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{many} of {look.name} failed: {errors}.{advice}"


def _failure(task: Json, look: Look) -> dict[str, Any]:
    status = task["Status"]
    return {
        **facts(task, look.nodes),
        "error": error_of(task),
        "exit_code": (status.get("ContainerStatus") or {}).get("ExitCode"),
        "at": status.get("Timestamp"),
    }
