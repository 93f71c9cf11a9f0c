# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of Marathon's rolling upgrade: how it goes, how low and how high, and whether it can end.

With N wanted instances, of which an upgrade replaces all that are of another definition (reference B6):

* ``least``: ceil(N x minimumHealthCapacity) stay healthy; ``most``: floor(N x (1 + maximumOverCapacity)) run at once;
* at the start healthy - ``least`` old tasks are killed, unhealthy ones first, or as many as there are more than N;
* where ``least`` equals ``most`` and so many are healthy, one more may run (for an app with persistent volumes: one
  more is killed, since its tasks cannot run anywhere else);
* new tasks are started while fewer than ``most`` run, and each one that is healthy and ready kills one old.

So 4 tasks with 1.0 and 0.0 go 4+0, 4+1, 3+2, 2+3, 1+4, 0+4. When only 3 of the 4 are healthy, nothing is killed and
nothing fits: that upgrade waits for ever. Agents can leave less room than ``most``: a fixed host port or a constraint
such as ``hostname UNIQUE`` lets old and new tasks not stand side by side.

Pure: decided from plain data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .definitions import differences, normalise, wanted
from .progress import ENDED, counts, is_current, is_healthy

Json = Mapping[str, Any]

_HOSTNAME = ("hostname", "@hostname")
_WIDEST = 12  # tasks that a picture shows one by one
_FIRST_ROWS, _LAST_ROWS = 6, 2


@dataclass(frozen=True)
class Start:
    """Where an upgrade begins.

    ``instances`` are wanted. ``old`` tasks are there (or wanted and not launched yet), of which ``unhealthy`` serve
    nobody. With ``begun`` it is in its middle: ``new`` tasks are there already, of which ``serving`` are healthy and
    ready, and what Marathon decides at the start is decided.
    ``minimum`` and ``maximum``: minimumHealthCapacity and maximumOverCapacity. ``resident``: with persistent volumes.
    ``places``: how many tasks the agents can take at once, old and new ones together; ``places_for_new``: new ones
    alone; ``None`` where nothing is known to limit them.
    """

    instances: int
    old: int
    unhealthy: int = 0
    new: int = 0
    serving: int = 0
    minimum: float = 1.0
    maximum: float = 1.0
    resident: bool = False
    begun: bool = False
    places: int | None = None
    places_for_new: int | None = None


@dataclass(frozen=True)
class Limits:
    """What Marathon decides at the start: kill ``kill`` tasks at once, run ``most`` at most, keep ``least`` healthy."""

    kill: int
    most: int
    least: int


@dataclass(frozen=True)
class Stage:
    """Tasks at one moment: old ones that serve and that do not, new ones that start and that serve.

    ``about`` says what led here.
    """

    old: int
    unhealthy: int
    starting: int
    serving: int
    about: str = ""

    @property
    def healthy(self) -> int:
        """How many serve."""
        return self.old + self.serving

    @property
    def total(self) -> int:
        """How many there are."""
        return self.old + self.unhealthy + self.starting + self.serving

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a result."""
        return {**vars(self), "healthy": self.healthy, "total": self.total}


@dataclass(frozen=True)
class Course:
    """How an upgrade goes when every new task gets well. ``killed``: old tasks that are killed while they serve."""

    stages: tuple[Stage, ...]
    ends: bool
    killed: int
    limits: Limits

    @property
    def least_healthy(self) -> int:
        """The fewest that serve at any moment."""
        return min(stage.healthy for stage in self.stages)

    @property
    def most_tasks(self) -> int:
        """The most that there are at any moment."""
        return max(stage.total for stage in self.stages)


def limits(start: Start) -> Limits:
    """The strategy in counts. Marathon calculates with the same binary fractions, so no rounding is added here."""
    count, total = start.instances, start.old + start.new
    healthy = start.old - start.unhealthy + start.serving
    least = math.ceil(count * start.minimum)
    most = math.floor(count * (1 + start.maximum))
    kill = max(0, healthy - least)
    if start.begun:
        return Limits(0, most + (least == most and not start.resident), least)
    if least == most and most <= healthy:
        if start.resident:
            kill = healthy - least + 1
        else:
            most += 1
    if count < total:
        kill = max(total - count, kill)
    return Limits(kill, most, least)


def course(start: Start) -> Course:
    """Follow the upgrade to its end, or to where nothing moves any more; new tasks get well in waves."""
    bounds = limits(start)
    old, unhealthy = start.old - start.unhealthy, start.unhealthy
    starting, serving, killed = start.new - start.serving, start.serving, 0
    stages = [Stage(old, unhealthy, starting, serving, "now")]

    def kill(count: int) -> int:
        nonlocal old, unhealthy, killed
        sick = min(count, unhealthy)
        well = min(count - sick, old)
        unhealthy, old, killed = unhealthy - sick, old - well, killed + well
        return sick + well

    gone = kill(bounds.kill)
    got_well = 0
    while True:
        launched = _room(start, bounds, old + unhealthy, starting + serving)
        starting += launched
        about = _about(got_well, gone, launched)
        if about:
            stages.append(Stage(old, unhealthy, starting, serving, about))
        if not starting:
            break
        got_well, serving, starting = starting, serving + starting, 0
        gone = kill(got_well if serving < start.instances else old + unhealthy)
    return Course(tuple(stages), not old + unhealthy and serving == start.instances, killed, bounds)


def _room(start: Start, bounds: Limits, old: int, new: int) -> int:
    """How many more new tasks are started."""
    rooms = [start.instances - new, bounds.most - old - new]
    if start.places is not None:
        rooms.append(start.places - old - new)
    if start.places_for_new is not None:
        rooms.append(start.places_for_new - new)
    return max(0, min(rooms))


def _about(got_well: int, killed: int, launched: int) -> str:
    parts = []
    if got_well:
        parts.append(f"{got_well} new healthy")
    if killed:
        parts.append(f"{killed} old killed")
    if launched:
        parts.append(f"{launched} new started")
    return ", ".join(parts)


# What the agents can take


@dataclass(frozen=True)
class Tightness:
    """How the tasks of an app exclude each other. ``per_agent``: so many fit on one (``None``: no rule limits them).

    ``agents``: so many can be used at all (``None``: no rule limits them). ``shared``: whether old tasks count too.
    ``why``: the rules in words.
    """

    per_agent: int | None = None
    agents: int | None = None
    shared: bool = True
    why: tuple[str, ...] = ()

    def places(self, agents: int | None) -> int | None:
        """How many tasks fit on so many agents; ``None`` when that is not limited, or not known."""
        usable = min((count for count in (agents, self.agents) if count is not None), default=None)
        return None if self.per_agent is None or usable is None else usable * self.per_agent


def tightness(definition: Json, live: Json | None) -> Tightness:
    """Read constraints and fixed host ports of the wanted ``definition``; ``live`` is the app with its tasks."""
    app = normalise(definition)
    per_agent: list[int] = []
    agents, why, shared = None, [], False
    for constraint in app.get("constraints", []):
        field, operator, value = (*constraint, "", "")[:3]
        if field not in _HOSTNAME:
            continue
        if operator == "UNIQUE":
            per_agent.append(1)
        elif operator == "MAX_PER" and str(value).isdecimal():
            per_agent.append(int(value))
        elif operator in ("CLUSTER", "IS"):
            agents = 1
        else:
            continue
        shared = True
        why.append(f"the constraint {' '.join(str(part) for part in constraint)}")
    fixed = fixed_ports(app)
    if fixed:
        per_agent.append(1)
        taken = {port for task in _tasks(live) for port in task.get("ports") or []}
        shared = shared or bool(taken & set(fixed))
        why.append(f"the fixed host port{'s' * (len(fixed) > 1)} {', '.join(str(port) for port in fixed)}")
    return Tightness(min(per_agent, default=None), agents, shared, tuple(why))


def fixed_ports(definition: Json) -> list[int]:
    """The host ports that each task needs for itself on its agent."""
    app = normalise(definition)
    if app["networks"][0]["mode"] == "host":
        ports = [port["port"] for port in app.get("portDefinitions", [])] if app["requirePorts"] else []
    else:
        ports = [port.get("hostPort") for port in (app.get("container") or {}).get("portMappings") or []]
    return [port for port in ports if port]


# The whole assessment


@dataclass(frozen=True)
class Assessment:
    """``reasons``: why it can never end, none when it can. ``warnings``: what it will cost or not notice."""

    start: Start
    course: Course
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def start_of(live: Json, definition: Json, *, agents: int | None = None) -> tuple[Start, Tightness]:
    """Where the upgrade of ``live`` (an app with its tasks) to ``definition`` begins, or is in its middle.

    ``agents``: how many agents the cluster has for this app, ``None`` when nobody told.
    """
    app = wanted(definition, live)
    present = [task for task in _tasks(live) if task.get("state") != "TASK_KILLING"]
    in_progress = not differences(definition, live).keys() - {"instances"}
    new = [task for task in present if in_progress and is_current(live, task.get("version"))]
    old = [task for task in present if task not in new]
    # An old one that is wanted and not there counts as an unhealthy one: it is the first to be given up.
    missing = 0 if in_progress else max(0, live["instances"] - len(old))
    strategy = app["upgradeStrategy"]
    tight = tightness(app, live)
    places = tight.places(agents)
    volumes = (app.get("container") or {}).get("volumes") or []
    start = Start(
        instances=app["instances"],
        old=len(old) + missing,
        unhealthy=missing + sum(not serves(live, task) for task in old),
        new=len(new),
        serving=sum(serves(live, task) for task in new),
        minimum=strategy["minimumHealthCapacity"],
        maximum=strategy["maximumOverCapacity"],
        resident=any("persistent" in volume for volume in volumes),
        begun=in_progress,
        places=places if tight.shared else None,
        places_for_new=places,
    )
    return start, tight


def assess(
    live: Json,
    definition: Json,
    *,
    agents: int | None = None,
    hosts: int = 0,
    rejected: Sequence[str] = (),
    crowded: Sequence[str] = (),
) -> Assessment:
    """Judge the upgrade of ``live`` to ``definition``.

    ``hosts``: on how many agents tasks were seen. ``rejected``: why offers were declined for tasks of this app that
    wait for one. ``crowded``: other apps that find no room, and why.
    """
    start, tight = start_of(live, definition, agents=agents)
    found = course(start)
    app = wanted(definition, live)
    reasons = () if found.ends else tuple(_reasons(start, tight, agents))
    warnings = [*_blindness(app, start, found), *_scarcity(app, start, found, tight, hosts, rejected, crowded)]
    return Assessment(start, found, reasons, tuple(warnings))


def _reasons(start: Start, tight: Tightness, agents: int | None) -> Iterator[str]:
    free = replace(start, places=None, places_for_new=None)
    if not course(free).ends:
        bounds, healthy = limits(start), start.old - start.unhealthy + start.serving
        yield (
            f"{healthy} of {start.old + start.new} tasks are healthy, minimumHealthCapacity {_number(start.minimum)} "
            f"keeps {bounds.least} of them, and maximumOverCapacity {_number(start.maximum)} lets {bounds.most} run: "
            "no old task may be killed, and no new one fits. It waits until an old task ends by itself."
        )
    else:
        takers = "one agent takes" if (tight.agents or agents) == 1 else f"{agents} agents take"
        if start.places is not None:
            yield (
                f"By {_listed(tight.why)} {takers} {start.places} of its tasks at once, and the upgrade needs "
                f"{_needed(start) or 'more'}: new tasks get no offer while old ones hold the places."
            )
        else:
            limit = start.places_for_new
            yield f"By {_listed(tight.why)} {takers} {limit} of its tasks, and {start.instances} are wanted."
    better = _better(start)
    if better is not None:
        yield (
            f"It could end with minimumHealthCapacity {_number(better.minimum)} and maximumOverCapacity "
            f"{_number(better.maximum)} (never fewer than {course(better).least_healthy} of {start.instances} healthy)."
        )


def _needed(start: Start) -> int | None:
    """The fewest places with which the upgrade ends."""
    most = course(replace(start, places=None, places_for_new=None)).most_tasks
    for places in range(start.instances, most + 1):
        if course(replace(start, places=places, places_for_new=None)).ends:
            return places
    return None


def _better(start: Start) -> Start | None:
    """A strategy with which it ends: one more task at a time, or else as few old ones fewer as possible."""
    count = start.instances
    candidates = [replace(start, maximum=_share(1, count, up=True))]
    candidates += [replace(start, minimum=_share(left, count), maximum=0.0) for left in range(count - 1, -1, -1)]
    return next((one for one in candidates if course(one).ends), None)


def _share(count: int, whole: int, *, up: bool = False) -> float:
    """``count`` of ``whole`` as a fraction, with two digits where Marathon makes the same count of it."""
    share = (math.ceil if up else math.floor)(100 * count / whole) / 100
    exact = math.floor(whole * (1 + share)) == whole + count if up else math.ceil(whole * share) == count
    return share if exact else count / whole


def _blindness(app: Json, start: Start, found: Course) -> Iterator[str]:
    """What Marathon will not notice, or does not mind."""
    checked, ready = bool(app.get("healthChecks")), bool(app.get("readinessChecks"))
    if not checked:
        yield (
            f"{app['id']} has no health check: Marathon takes a new task for well as soon as its process runs, kills "
            "an old one for it, and calls the upgrade a success even when the new ones end a moment later."
        )
    if not ready:
        yield (
            f"{app['id']} has no readiness check: a new task counts as soon as it is "
            f"{'healthy' if checked else 'running'}, and an old one is killed for it, however long it takes to warm up."
        )
    if found.ends and found.least_healthy == 0 and start.old - start.unhealthy:
        yield f"For a time no task of {app['id']} serves: minimumHealthCapacity is {_number(start.minimum)}."


def _scarcity(
    app: Json,
    start: Start,
    found: Course,
    tight: Tightness,
    hosts: int,
    rejected: Sequence[str],
    crowded: Sequence[str],
) -> Iterator[str]:
    """What the cluster may not have."""
    if tight.per_agent is not None and start.places_for_new is None:
        needed = _needed(start) if tight.shared else start.instances
        least = math.ceil((needed or start.instances) / tight.per_agent)
        if least > hosts:
            yield (
                f"By {_listed(tight.why)} the upgrade needs {least} agents, and tasks were seen on {hosts}. If there "
                "are no more of them it can never end; say how many there are to have that judged."
            )
    if rejected:
        yield (
            f"Tasks of {app['id']} wait for an agent already ({', '.join(rejected)}): new ones may find none either."
        )
    more = found.most_tasks - start.old - start.new
    if crowded and more > 0:
        yield (
            f"The upgrade needs room for {more} more task{'s' * (more > 1)}, and the cluster has none for {crowded[0]}"
            f"{f' and {len(crowded) - 1} more' if len(crowded) > 1 else ''}."
        )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts)


def _number(value: float) -> str:
    return f"{value:g}"


# What an app shows


def _tasks(live: Json | None) -> list[Json]:
    return [task for task in (live or {}).get("tasks") or [] if task.get("state") not in ENDED]


def serves(live: Json, task: Json) -> bool:
    """Whether a task runs and no check says otherwise; without checks Marathon takes every running one for healthy."""
    return task.get("state", "TASK_RUNNING") == "TASK_RUNNING" and is_healthy(live, task) is not False


# Pictures


def picture(stage: Stage, old: str, new: str) -> str:
    """A stage as text: ``[0.9]`` serves, ``[0.9!]`` does not, ``(1.0)`` starts."""
    return boxes(
        [
            (f"[{old}]", stage.old),
            (f"[{old}!]", stage.unhealthy),
            (f"({new})", stage.starting),
            (f"[{new}]", stage.serving),
        ]
    )


def boxes(kinds: Sequence[tuple[str, int]]) -> str:
    """Boxes and how many there are of each, as text; many of them are counted: ``38x[0.9] 4x(1.0) 8x[1.0]``."""
    if sum(count for _box, count in kinds) > _WIDEST:
        return " ".join(f"{count}x{box}" for box, count in kinds if count)
    return " ".join(box for box, count in kinds for _one in range(count)) or "(none)"


def rows(found: Course, old: str, new: str) -> list[str]:
    """The whole course, a stage per row, the same ones in the middle left out."""
    drawn = [picture(stage, old, new) for stage in found.stages]
    width = max(len(text) for text in drawn)
    lines = [f"{text:<{width}}  {stage.about}" for text, stage in zip(drawn, found.stages, strict=True)]
    left_out = len(lines) - _FIRST_ROWS - _LAST_ROWS
    if left_out > 1:
        lines[_FIRST_ROWS:-_LAST_ROWS] = [f"... {left_out} more steps like these"]
    return lines


def names(old: str, new: str) -> tuple[str, str]:
    """What the boxes of both versions are called: by their versions where these differ."""
    return (old, new) if old != new and "unnamed" not in (old, new) else ("old", "new")


# What stands still


def kept(definition: Json, instances: int) -> int:
    """How many of so many tasks stay healthy by the strategy of a definition."""
    return math.ceil(instances * normalise(definition)["upgradeStrategy"]["minimumHealthCapacity"])


def to_unblock(app: Json, keep: int) -> list[str]:
    """The old tasks to kill so that a replacement goes on that has come to a standstill, where that does no harm.

    ``app``: with its tasks, while its deployment runs and nothing of it waits in ``/v2/queue``. Marathon has a list of
    what it will kill, one for each new task that gets well. An old task that ends by itself stays on that list and
    uses up another one's turn: at the end old ones are left, all new ones are well, and nothing happens any more. A
    rollback with fewer than ``most`` healthy tasks begins so: there is no place for a new one until one of the failed
    version ends. Those that serve nobody go at once, others one at a time and only while ``keep`` healthy ones stay.
    One that is being killed, but is not shown so, looks old and well: give tasks the time to end before this is asked.
    """
    now = counts(app)
    moving = now.staging or now.ending or now.settled < now.running
    old = [task for task in _tasks(app) if not is_current(app, task.get("version"))]
    if not app.get("deployments") or moving or not old:
        return []
    idle = [task["id"] for task in old if not serves(app, task)]
    if idle:
        return idle
    # The youngest is likely to be the last on Marathon's list: then those before it get their turns again.
    return [old[-1]["id"]] if now.settled + len(old) - 1 >= keep else []
