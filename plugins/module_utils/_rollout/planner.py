# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is observed and what is wanted to the steps between: a pure decision.

The sequence is the one of ``docs/how-a-rollout-works.md``. A step is idempotent and observes for itself, so a plan that
was interrupted is not continued but made anew from what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._errors import InvalidInput
from .canary import Stage
from .state import Colour, Group, Traffic, other_colour

GOALS = ("deploy", "promote", "rollback", "withdraw")

_SAME_SHARE = 0.5  # percentage points: what integer weights may be off

_KILLS = ("reduce", "retire")

IdleTasks = Callable[[int, int, int], int]


@dataclass(frozen=True)
class Wanted:
    """The version to deploy. ``instances`` is ``None`` where the live count is to be kept.

    ``same_as`` has the app ids of the group that run this very version already. ``colour`` is the one that it gets,
    ``None``: the one that is free.
    """

    base_id: str
    version: str
    instances: int | None
    same_as: frozenset[str] = frozenset()
    colour: str | None = None


@dataclass(frozen=True)
class Policy:
    """The user's choices that shape a plan. Times are in seconds; ``batch_size`` is a count, ``None`` means all.

    ``weighted``: the load balancers split the traffic by weight, whatever the counts are. ``canary`` are the stages by
    which the new version is let in; without any it takes all traffic at once, or batch by batch. ``analysis``: what it
    does beside the old version decides whether it goes on.
    """

    batch_size: int | None = None
    weighted: bool = False
    canary: tuple[Stage, ...] = ()
    analysis: bool = False
    bake_seconds: float = 0
    keep_old: bool = False
    checks: bool = False
    pending_operations: bool = False
    hooks: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step. ``app_id`` is the app that it is about, ``count`` a number of its tasks, ``file`` a hook.

    ``other_count`` is how many instances the other app is meant to have; ``trim``: more of them may be removed by
    turning the traffic to and fro, since both apps are fit to serve. ``share``: the percentage of the requests that the
    app is to get, ``None`` where the counts tell; ``idle``: how many tasks of the other app are to get none.
    ``seconds``: how long a bake lasts at least; ``analysis``: until the new version is shown to be good enough.
    """

    name: str
    title: str
    app_id: str = ""
    other_id: str = ""
    count: int = 0
    other_count: int = 0
    trim: bool = False
    warm: bool = False
    all_traffic: bool = True
    file: str = ""
    share: float | None = None
    idle: int = 0
    seconds: float = 0
    analysis: bool = False


@dataclass(frozen=True)
class Plan:
    """``steps`` in order; ``result`` is what the group will be in when they are done; ``notes`` are for people."""

    goal: str
    result: str
    old: Colour | None
    new_id: str | None
    new_colour: str | None
    instances: int
    target: int
    warm: bool
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the steps as a list of dicts."""
        plain = asdict(self)
        plain["steps"] = [asdict(step) for step in self.steps]
        plain["notes"] = list(self.notes)
        if self.old is not None:
            plain["old"]["traffic"] = self.old.traffic.value
        return plain


def plan(group: Group, goal: str, policy: Policy, wanted: Wanted | None, idle_tasks: IdleTasks) -> Plan:
    """Return the steps from ``group`` to ``goal``.

    ``idle_tasks(receiving, other, target)`` tells how many tasks of the other app are without traffic while
    ``receiving`` healthy tasks of an app with the count ``target`` receive it: the rule of the load balancer.

    :raises InvalidInput: the goal cannot be reached from here; nothing was changed.
    """
    if goal == "deploy":
        if wanted is None:
            raise InvalidInput("invalid_option", "A definition of the app is needed to deploy it.")
        made = _deploy(group, policy, wanted, idle_tasks)
    elif goal == "promote":
        made = _promote(group, policy, idle_tasks)
    elif goal == "rollback":
        made = _roll_back(group, policy, idle_tasks)
    elif goal == "withdraw":
        made = _withdraw(group)
    else:
        raise InvalidInput("invalid_option", f"Option goal: {goal!r} is none of {', '.join(GOALS)}.")
    return replace(made, steps=tuple(with_hooks(made.steps, goal, policy.hooks)))


def _deploy(group: Group, policy: Policy, wanted: Wanted, idle_tasks: IdleTasks) -> Plan:
    old, new = group.old, group.new
    if old is None:
        return _first(policy, wanted)
    if new is None:
        if old.app_id in wanted.same_as:
            return _unchanged(group, old, wanted, policy)
        return _replace(old, None, policy, wanted, idle_tasks)
    if new.app_id in wanted.same_as:
        return _replace(old, new, policy, wanted, idle_tasks)
    if old.app_id in wanted.same_as and not _is_stranded(old, new, policy):
        back = _roll_back(group, policy, idle_tasks)
        note = f"{new.app_id} is not the wanted version, {old.app_id} is: it is rolled back."
        return replace(back, goal="deploy", notes=(note, *back.notes))
    if new.traffic is Traffic.ALL:
        target = new.target or new.instances
        before = [
            _healthy(new.app_id, target),
            *_shift(new, old, target, policy, idle_tasks, trim=True),
            _retire(old, new),
        ]
        note = f"{new.app_id} ({new.version}) takes all traffic: its rollout is finished first."
        rest = _replace(replace(new, instances=target), None, policy, wanted, idle_tasks)
    else:
        count = _live_count(old, new, policy)
        before = [*_shift(old, new, count, policy, idle_tasks, trim=False), _retire(new, old)]
        note = f"{new.app_id} ({new.version}) was left half-way and is not the wanted version: it is rolled back first."
        rest = _replace(replace(old, instances=count), None, policy, wanted, idle_tasks)
    return replace(rest, steps=(*before, *rest.steps), notes=(note, *rest.notes))


def _is_stranded(old: Colour, new: Colour, policy: Policy) -> bool:
    """Whether the old app's only task cannot take the traffic back without a gap: it has to be rolled out anew."""
    return old.instances == 1 and not old.turnable and new.traffic is Traffic.ALL and not policy.weighted


def _first(policy: Policy, wanted: Wanted) -> Plan:
    colour = wanted.colour or other_colour(None)
    app_id = f"{wanted.base_id}-{colour}"
    count = 1 if wanted.instances is None else wanted.instances
    steps = (
        Step("create", f"create {app_id} with {count} instances; nothing is there yet", app_id, count=count),
        _healthy(app_id, count),
        *_checked(policy, app_id),
        _serves(policy, app_id, count),
    )
    return Plan("deploy", "deployed", None, app_id, colour, count, count, False, steps)


def _unchanged(group: Group, old: Colour, wanted: Wanted, policy: Policy) -> Plan:
    count = old.instances if wanted.instances is None else wanted.instances
    if count < old.instances:
        raise InvalidInput(
            "cannot_shrink",
            f"{old.app_id} has {old.instances} instances and {count} are wanted of the same version: a single app "
            "cannot be made smaller without cutting requests. Change the count together with a new version (which also "
            "removes what an interrupted switch may have left), or scale it with marathon_app, knowing that.",
        )
    steps: tuple[Step, ...] = ()
    if count > old.instances:
        steps = (Step("scale", f"scale {old.app_id} from {old.instances} to {count}", old.app_id, count=count),)
    elif not group.settled:
        steps = (_healthy(old.app_id, count),)
    if policy.weighted and (steps or old.traffic is not Traffic.ALL):
        unseen = _checked(policy, old.app_id) if old.traffic is Traffic.NONE else []
        steps = (*steps, *unseen, _serves(policy, old.app_id, count))
    return Plan("deploy", "deployed" if steps else "unchanged", old, None, None, count, count, False, steps)


def _replace(old: Colour, new: Colour | None, policy: Policy, wanted: Wanted, idle_tasks: IdleTasks) -> Plan:
    """The whole rollout from ``old``, or the rest of it where ``new`` is there already."""
    colour = new.colour if new is not None and new.colour else other_colour(old.colour)
    app_id = new.app_id if new is not None else f"{wanted.base_id}-{colour}"
    live = _live_count(old, new, policy)
    final = live if wanted.instances is None else wanted.instances
    if final < 1:
        raise InvalidInput("invalid_option", f"{app_id}: instances is {final}, a rollout needs at least 1.")
    target = new.target if new is not None and new.target else min(live, final)
    # A touch needs both at full count; with fewer instances wanted than live ones it goes in shares.
    created = min(policy.canary[0].instances if policy.canary else policy.batch_size or target, target)
    notes = (
        ()
        if old.turnable or new is not None
        else (f"{app_id} takes traffic as soon as its tasks are healthy: {old.why_not}",)
    )
    planned = new or Colour(app_id, colour, wanted.version, created, 0, target, Traffic.NONE, old.turnable)
    steps = _start(old, new, planned, policy)
    if policy.canary:
        let_in, paused = _let_in(planned, old, target, policy, idle_tasks, approved=False)
        steps += let_in
        if paused:
            return _paused("deploy", old, planned, target, steps, notes)
    else:
        steps += _shift(planned, old, target, policy, idle_tasks, trim=True)
    steps += _baked(planned, old, target, policy)
    if policy.keep_old:
        note = f"{old.app_id} is kept warm: zdd.rollout.promote removes it, zdd.rollout.rollback goes back to it."
        return Plan("deploy", "kept", old, app_id, colour, created, target, old.turnable, tuple(steps), (*notes, note))
    steps.append(_retire(old, planned))
    if final > target:
        steps.append(Step("scale", f"scale {app_id} from {target} to {final}", app_id, count=final))
        if policy.weighted:
            steps.append(_serves(policy, app_id, final))
    return Plan("deploy", "promoted", old, app_id, colour, created, target, old.turnable, tuple(steps), notes)


def _promote(group: Group, policy: Policy, idle_tasks: IdleTasks) -> Plan:
    old, new = group.old, group.new
    if old is None:
        raise InvalidInput("nothing_there", f"No app is in the deployment group {group.name}: nothing to promote.")
    if new is None:
        return Plan("promote", "unchanged", old, None, None, old.instances, old.instances, False, ())
    target = new.target or _live_count(old, new, policy)
    steps = [_healthy(new.app_id, new.instances), *_checked(policy, new.app_id)]
    if policy.canary:
        let_in, paused = _let_in(new, old, target, policy, idle_tasks, approved=True)
        steps += let_in
        if paused:
            return _paused("promote", old, new, target, steps, ())
    else:
        steps += _shift(new, old, target, policy, idle_tasks, trim=True)
    steps.append(_retire(old, new))
    return Plan("promote", "promoted", old, new.app_id, new.colour, new.instances, target, False, tuple(steps))


def _paused(goal: str, old: Colour, new: Colour, target: int, steps: Sequence[Step], notes: Sequence[str]) -> Plan:
    note = f"{new.app_id} stays at this stage until a person decides: zdd.rollout.promote or zdd.rollout.rollback."
    instances = new.instances
    return Plan(
        goal, "paused", old, new.app_id, new.colour, instances, target, old.turnable, tuple(steps), (*notes, note)
    )


def _roll_back(group: Group, policy: Policy, idle_tasks: IdleTasks) -> Plan:
    old, new = group.old, group.new
    if old is None or new is None:
        only = f" {old.app_id} is the only app: to go back, roll out its old definition anew." if old else ""
        note = f"Nothing to roll back in the deployment group {group.name}.{only}"
        count = old.instances if old else 0
        return Plan("rollback", "unchanged", old, None, None, count, count, False, (), (note,))
    count = _live_count(old, new, policy)
    steps = (*_shift(old, new, count, policy, idle_tasks, trim=False), _retire(new, old))
    return Plan("rollback", "rolled back", old, new.app_id, new.colour, new.instances, count, False, steps)


def _withdraw(group: Group) -> Plan:
    """Take back a first deployment: there was nothing before it. It may have failed before anything was created."""
    first = group.old
    if first is None:
        return Plan("withdraw", "unchanged", None, None, None, 0, 0, False, ())
    if group.new is not None:
        raise InvalidInput(
            "nothing_there", f"The group {group.name} has two apps; to take back the newer one is to roll back."
        )
    return Plan("withdraw", "withdrawn", None, first.app_id, first.colour, 0, 0, False, (_retire(first, first),))


def _live_count(old: Colour, new: Colour | None, policy: Policy) -> int:
    """How many instances the live version is meant to have.

    A touch that was interrupted leaves one instance too many in one of the two apps, a turn by reduction one too few;
    the label of the old app tells what is right where it agrees with one of them. In batches, and with a canary by
    counts, the old app has been reduced already, and the target of the new one tells the count.
    """
    if new is None:
        return old.instances
    counts = (old.instances, new.instances)
    whole = min(counts) >= (new.target or 0) - 1
    if policy.batch_size is None and whole and abs(old.instances - new.instances) == 1:
        return next((target for target in (old.target, new.target) if target in counts), min(counts))
    return max(old.instances, new.target or new.instances)


def _start(old: Colour, new: Colour | None, planned: Colour, policy: Policy) -> list[Step]:
    """The new app is there and healthy, where possible without traffic, and its checks pass."""
    app_id, count, warm = planned.app_id, planned.instances, old.turnable and not policy.weighted
    steps: list[Step] = []
    if new is None:
        title = f"create {app_id} with {count} instances" + (", without traffic" if old.turnable else "")
        steps.append(Step("create", title, app_id, old.app_id, count, warm=warm))
    elif warm and _leaks(old, new, policy):
        steps.append(Step("warmed", f"all traffic stays on {old.app_id}", old.app_id, app_id, old.instances))
    return [*steps, _healthy(app_id, count), *_checked(policy, app_id)]


def _shift(to: Colour, away: Colour, target: int, policy: Policy, idle_tasks: IdleTasks, *, trim: bool) -> list[Step]:
    """Turn the traffic from ``away`` to ``to``, all at once where the counts allow it, else in shares.

    After each share the drained tasks are removed, so that both apps together never have more than ``target`` plus one
    batch; the last share stays, warm, for the bake.
    """
    if policy.weighted and policy.batch_size is None:
        return _turn(to, away, target, policy)
    steps: list[Step] = []
    receiving, left = min(to.instances, target), away.instances
    batch = policy.batch_size or target
    if trim and policy.batch_size is None and receiving == target and left == target + 1:
        left = target  # the rest of an interrupted touch, or one instance less is wanted: the switch removes it
    while True:
        idle = min(left, idle_tasks(receiving, left, to.target or target))
        if idle:
            everything = idle == left
            steps += _take_over(to, away, receiving, left, idle, policy, trim=trim)
            if everything:
                return steps
            steps.append(_reduce(away, to, idle))
            left -= idle
        if receiving < target:
            steps.append(_scale(to.app_id, receiving, min(target, receiving + batch)))
            receiving = min(target, receiving + batch)
        elif not idle:
            raise InvalidInput(
                "cannot_turn",
                f"{to.app_id} with {receiving} tasks cannot take the traffic of the {left} tasks of {away.app_id}.",
            )


def _take_over(
    to: Colour, away: Colour, receiving: int, left: int, idle: int, policy: Policy, *, trim: bool
) -> list[Step]:
    """``idle`` of ``left`` tasks of ``away`` lose their traffic to ``receiving`` tasks of ``to``, and are drained."""
    everything = idle == left
    what = "all traffic" if everything else "the next share of the traffic"
    counts = {"count": receiving, "other_count": left, "trim": trim, "all_traffic": everything, "idle": idle}
    share = 100.0 if everything and policy.weighted else None
    switched = Step("switched", f"{what} goes to {to.app_id}", to.app_id, away.app_id, share=share, **counts)
    return [switched, *_drained(away, to, idle, policy)]


def _turn(to: Colour, away: Colour, target: int, policy: Policy) -> list[Step]:
    """All traffic at once, by weight: as soon as ``to`` has its whole count."""
    steps = [] if to.instances >= target else [_scale(to.app_id, to.instances, target)]
    return [
        *steps,
        *_take_over(to, away, max(target, to.instances), away.instances, away.instances, policy, trim=False),
    ]


def _drained(away: Colour, to: Colour, idle: int, policy: Policy) -> list[Step]:
    title = f"{idle} tasks of {away.app_id} finish what they are doing"
    steps = [Step("drained", title, away.app_id, to.app_id, idle)]
    if policy.pending_operations:
        title = f"{idle} tasks of {away.app_id} have no pending operations"
        steps.append(Step("quiet", title, away.app_id, to.app_id, idle))
    return steps


def _reduce(away: Colour, to: Colour, idle: int) -> Step:
    return Step("reduce", f"remove these {idle} tasks of {away.app_id}", away.app_id, to.app_id, idle)


def _scale(app_id: str, before: int, count: int) -> Step:
    return Step("scale", f"scale {app_id} from {before} to {count}", app_id, count=count)


def _serves(policy: Policy, app_id: str, count: int) -> Step:
    share = 100.0 if policy.weighted else None
    return Step("switched", f"every LB serves {app_id}", app_id, count=count, share=share)


def _let_in(
    to: Colour, away: Colour, target: int, policy: Policy, idle_tasks: IdleTasks, *, approved: bool
) -> tuple[list[Step], bool]:
    """Let the new version in, stage by stage, from where it is; whether the plan ends at a pause.

    What was reached already is not done again, but it is watched once more: nobody knows how long it has been. With
    ``approved`` a person has decided that the stage that was reached is good.
    """
    steps: list[Step] = []
    stages = policy.canary
    reached = max((index for index, stage in enumerate(stages) if _is_reached(stage, to, away, target)), default=-1)
    receiving, left = to.instances, away.instances
    for index, stage in enumerate(stages):
        if index < reached:
            continue
        last = index == len(stages) - 1
        added: list[Step] = []
        if index > reached or last:  # the last one also shows which tasks of the old version are to be drained
            added, receiving, left = _next_stage(stage, to, away, receiving, left, target, policy, idle_tasks)
        elif stage.weight and not _is_agreed(stage, to):
            added = [_weigh(stage, to, away, receiving, left)]
        if approved and (index == reached or (index == reached + 1 and _has_its_share(stage, to))):
            steps += added
            continue
        judged = policy.analysis and not last and stage.weight != 0
        if stage.bake_seconds or judged:
            bake = _bake(to, away, receiving, stage.bake_seconds, stage.weight, analysis=judged)
            added.insert(len(added) if last else _after_the_switch(added), bake)
        steps += added
        if stage.pause and not last:
            return steps, True
    return steps, False


def _after_the_switch(steps: Sequence[Step]) -> int:
    """Where a stage is watched: as soon as it has its traffic, before old tasks go, however long they drain."""
    return max((index + 1 for index, step in enumerate(steps) if step.name == "switched"), default=len(steps))


def _is_reached(stage: Stage, to: Colour, away: Colour, target: int) -> bool:
    if to.healthy < stage.instances:
        return False
    if stage.weight is not None:
        return (to.share or 0) >= stage.weight - _SAME_SHARE
    if stage.instances == target:
        return to.traffic is Traffic.ALL
    return away.instances <= max(0, target - stage.instances)


def _has_its_share(stage: Stage, to: Colour) -> bool:
    """By counts: the new version has the traffic of the stage, and the old tasks that it stands for are still there."""
    return stage.weight is None and to.healthy >= stage.instances and to.traffic is Traffic.SOME


def _is_agreed(stage: Stage, to: Colour) -> bool:
    return (to.lowest_share or 0) >= (stage.weight or 0) - _SAME_SHARE


def _next_stage(
    stage: Stage,
    to: Colour,
    away: Colour,
    receiving: int,
    left: int,
    target: int,
    policy: Policy,
    idle_tasks: IdleTasks,
) -> tuple[list[Step], int, int]:
    """The steps of one stage, and the counts of both apps after it."""
    steps: list[Step] = []
    if receiving < stage.instances:
        steps.append(_scale(to.app_id, receiving, stage.instances))
        receiving = stage.instances
    if stage.weight is not None:
        if stage.weight == 100:
            steps += _take_over(to, away, receiving, left, left, policy, trim=False)
        elif stage.weight:
            steps.append(_weigh(stage, to, away, receiving, left))
        return steps, receiving, left
    if stage.instances == target:
        now_to, now_away = replace(to, instances=receiving), replace(away, instances=left)
        return [*steps, *_shift(now_to, now_away, target, policy, idle_tasks, trim=True)], receiving, left
    while left > max(0, target - stage.instances):
        idle = min(left - (target - stage.instances), idle_tasks(receiving, left, to.target or target))
        if idle < 1:
            raise InvalidInput(
                "cannot_turn",
                f"{to.app_id} with {receiving} tasks cannot take the traffic of a task of {away.app_id}, which has "
                f"{left}.",
            )
        steps += [*_take_over(to, away, receiving, left, idle, policy, trim=True), _reduce(away, to, idle)]
        left -= idle
    return steps, receiving, left


def _weigh(stage: Stage, to: Colour, away: Colour, receiving: int, left: int) -> Step:
    title = f"{stage.weight:g} % of the traffic go to {to.app_id}"
    counts = {"count": receiving, "other_count": left, "all_traffic": False}
    return Step("switched", title, to.app_id, away.app_id, share=stage.weight, **counts)


def _bake(
    new: Colour, old: Colour, count: int, seconds: float, share: float | None = None, *, analysis: bool = False
) -> Step:
    title = f"watch {new.app_id} for {seconds:g} s; {old.app_id} stays warm"
    if analysis:
        title = f"compare {new.app_id} with {old.app_id}" + (f", for {seconds:g} s at least" if seconds else "")
    return Step("bake", title, new.app_id, old.app_id, count, seconds=seconds, share=share, analysis=analysis)


def _healthy(app_id: str, count: int) -> Step:
    return Step("healthy", f"all {count} tasks of {app_id} are healthy", app_id, count=count)


def _leaks(old: Colour, new: Colour, policy: Policy) -> bool:
    """Whether the new app has traffic, or is going to have it, before it was checked.

    The run before died between the creation of the new app and the touch of the old one. Shares of the traffic are
    meant where the old app has been reduced, and in batches.
    """
    if new.target is not None and new.instances > new.target:
        return False  # the rest of a switch to it: its checks have passed
    if new.traffic is Traffic.NONE:
        return new.healthy < new.instances
    at_once = policy.batch_size is None and not policy.canary
    return new.traffic is Traffic.SOME and at_once and old.instances >= (new.target or 0)


def _checked(policy: Policy, app_id: str) -> list[Step]:
    return [Step("checked", f"the checks pass at the tasks of {app_id}", app_id)] if policy.checks else []


def _baked(new: Colour, old: Colour, target: int, policy: Policy) -> list[Step]:
    return [_bake(new, old, target, policy.bake_seconds)] if policy.bake_seconds else []


def _retire(app: Colour, other: Colour) -> Step:
    return Step("retire", f"remove {app.app_id}", app.app_id, other.app_id, app.instances)


def with_hooks(steps: Sequence[Step], goal: str, hooks: Mapping[str, Sequence[str]]) -> list[Step]:
    """Put a ``hook`` step before each step that has hooks; ``rollback`` hooks come before a rollback's first step.

    ``kill`` hooks come before every step that removes tasks of one app in favour of the other, on the way back too.
    """
    back = goal in ("rollback", "withdraw")
    planned = [_hook("rollback", file) for file in hooks.get("rollback", ())] if back and steps else []
    for step in steps:
        if not back:
            planned += [_hook(step.name, file, step) for file in hooks.get(step.name, ())]
        if step.name in _KILLS and step.other_id != step.app_id:
            planned += [_hook("kill", file, step) for file in hooks.get("kill", ())]
        planned.append(step)
    return planned


def _hook(name: str, file: str, step: Step | None = None) -> Step:
    about = step or Step(name, "")
    return replace(about, name="hook", title=f"hook before {name}: {file}", file=file)
