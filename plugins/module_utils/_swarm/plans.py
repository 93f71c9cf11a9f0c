# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is observed of a group on Docker Swarm to the steps that lead to a goal: a pure decision.

The planner is the one of every platform. Here it is decided which colour is the old one and which the new one, and what
its steps mean for services that are updated in place: a new version overwrites the idle service, and an old one stays
there with as many replicas as are to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .._errors import InvalidInput
from .._rollout.canary import Stage, stages
from .._rollout.planner import Plan, Policy, Step, Wanted, plan, with_hooks
from .._rollout.state import COLOURS, Colour, Group, Traffic, other_colour
from .group import ServiceColour, SwarmGroup, service_name

GOALS = ("deploy", "promote", "rollback", "withdraw", "toggle", "renew", "scale")

_BACK = ("rollback", "withdraw")


@dataclass(frozen=True)
class Request:
    """What is wanted. ``definition`` is the hash of the wanted definition, ``version`` what people call it.

    ``replicas``: the count, ``None`` keeps the live one. ``colour``: where a deployment goes to, what a toggle makes
    live, what is withdrawn. ``back_to``: the colour that a rollback ends with, ``None``: the one deployed earlier.
    ``keep``: how many replicas stay of what is replaced, ``None``: all of them.
    """

    goal: str
    definition: str | None = None
    version: str = ""
    replicas: int | None = None
    colour: str | None = None
    back_to: str | None = None
    keep: int | None = None


@dataclass(frozen=True)
class SwarmPlan:
    """A plan, and what only Swarm needs to know of it.

    ``copy_of``: the service whose definition the created one gets; ``to_version``: what is live in the end.
    ``back``: the goal and the colour with which what this plan does is taken back, ``None`` where there is none.
    """

    plan: Plan
    group: SwarmGroup
    stages: tuple[Stage, ...]
    from_version: str | None
    to_version: str | None
    copy_of: str = ""

    @property
    def back(self) -> dict[str, str | None] | None:
        """Where to go back to when a step fails, by what was there before: the older version may not be it."""
        made = self.plan
        if made.goal in _BACK or not made.steps:
            return None
        if made.old is None:
            return {"goal": "withdraw", "colour": made.new_colour}
        if made.goal == "scale" and made.new_id is None:
            return None
        replaces = made.new_id is not None and made.goal != "toggle"
        return {"goal": "rollback" if replaces else "toggle", "colour": made.old.colour}

    @property
    def created(self) -> Step | None:
        """The step that defines a service anew."""
        return next((step for step in self.plan.steps if step.name == "create"), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: the plan's, with what each step is about in words of Swarm."""
        return {
            **self.plan.as_dict(),
            "steps": [self._described(step) for step in self.plan.steps],
            "group": self.group.name,
            "from": self.from_version,
            "to": self.to_version,
            "live": self.group.live,
            "idle": self.group.idle,
            "back": self.back,
            "lines": self.lines(),
        }

    def _described(self, step: Step) -> dict[str, Any]:
        colour = next((one for one in COLOURS if step.app_id == service_name(self.group.name, one)), None)
        remains = None
        if step.name in ("create", "scale", "healthy"):
            remains = step.count
        elif step.name == "retire" and colour is not None:
            remains = self.group.colours[colour].replicas - step.count
        return {
            **asdict(step),
            "colour": colour,
            "other_colour": other_colour(colour) if colour else None,
            "replicas": remains,
            "copy_of": self.copy_of if step.name == "create" else "",
        }

    def lines(self) -> list[str]:
        """The plan for people."""
        made, name = self.plan, self.group.name
        if not made.steps:
            return [*made.notes, f"{name}: nothing to do, {self.to_version or 'nothing'} is live."]
        head = f"{name}: {self.from_version or 'nothing'} -> {self.to_version or 'nothing'} ({made.goal})"
        return [
            head,
            *made.notes,
            *(f"{number}. {step.name}: {step.title}" for number, step in enumerate(made.steps, 1)),
        ]


def swarm_plan(group: SwarmGroup, request: Request, policy: Policy, canary_steps: Sequence[Any] = ()) -> SwarmPlan:
    """The steps from ``group`` to what is wanted. ``canary_steps`` are as the user gives them.

    :raises InvalidInput: the goal cannot be reached from here; nothing was changed.
    """
    if request.replicas is not None and request.replicas < (0 if request.goal == "scale" else 1):
        raise InvalidInput(
            "invalid_option", f"Option replicas is {request.replicas}; a version that is to be live needs at least 1."
        )
    bare = replace(policy, weighted=True, batch_size=None, hooks={})
    decide = {
        "deploy": _deploy,
        "promote": _promote,
        "rollback": _roll_back,
        "withdraw": _withdraw,
        "toggle": _toggle,
        "renew": _renew,
        "scale": _scale,
    }
    if request.goal not in decide:
        raise InvalidInput("invalid_option", f"Option goal: {request.goal!r} is none of {', '.join(GOALS)}.")
    made = decide[request.goal](_Planning(group, request, bare, tuple(canary_steps)))
    steps = with_hooks(made.plan.steps, request.goal, policy.hooks)
    return replace(made, plan=replace(made.plan, goal=request.goal, steps=tuple(steps)))


@dataclass(frozen=True)
class _Planning:
    """What all goals need."""

    group: SwarmGroup
    request: Request
    policy: Policy
    canary_steps: tuple[Any, ...]

    def service(self, colour: str) -> ServiceColour:
        return self.group.colours[colour]

    def later(self) -> str | None:
        """The colour that was deployed last."""
        ages = self.group.by_age()
        return ages[-1] if ages else None

    def serving(self) -> str | None:
        """The only colour with traffic, also where a proxy does not send it any (yet)."""
        if self.group.split:
            return None
        return self.group.live or next((one for one in self.group.by_age() if self.group.has_traffic(one)), None)

    def is_resumed(self) -> bool:
        """Whether what was deployed last is what is wanted: an interrupted rollout of it explains any split."""
        later = self.later()
        return later is not None and self.service(later).runs(self.request.definition)

    def planned(
        self,
        goal: str,
        old: str | None,
        new: str | None,
        *,
        same: Sequence[str] = (),
        count: int | None = None,
        colour: str | None = None,
        canary: bool = True,
    ) -> tuple[Plan, tuple[Stage, ...]]:
        """Ask the planner. ``count``: the wanted replicas, ``None``: what the group is meant to have."""
        meant = self.group.meant()
        wanted = count or meant or 1
        meant = meant or wanted
        target = min(meant, wanted)
        before = self.group.as_colour(old, meant) if old else None
        if goal == "deploy" and before is not None and not same and not before.instances:
            before = replace(before, instances=meant)  # scaled to nothing by somebody: its successor is not
        group = Group(self.group.name, before, self.group.as_colour(new, target) if new else None)
        let_in = stages(self.canary_steps, target, weighted=True) if canary else ()
        policy = replace(self.policy, canary=let_in, analysis=self.policy.analysis and canary)
        version = self.request.version if goal == "deploy" else ""
        asked = Wanted(self.group.name, version, wanted, frozenset(same), colour)
        return plan(group, goal, policy, asked, _no_counts), let_in

    def done(
        self,
        made: Plan,
        *,
        let_in: tuple[Stage, ...] = (),
        result: str | None = None,
        keep: int | None = 0,
        start: str | None = None,
        end: str | None = None,
        copy_of: str = "",
    ) -> SwarmPlan:
        """The plan in words of Swarm. ``keep``: how many replicas stay of what is retired, ``None``: all of them."""
        steps = [step for given in made.steps if (step := self._in_words(given, made, keep, copy_of)) is not None]
        notes = tuple(_in_playbooks(note) for note in made.notes)
        made = replace(made, steps=tuple(steps), notes=notes, result=result or made.result)
        return SwarmPlan(made, self.group, let_in, start, end, copy_of)

    def _in_words(self, step: Step, made: Plan, keep: int | None, copy_of: str) -> Step | None:
        if step.name == "create":
            return replace(step, title=self._created(step, copy_of))
        if step.name != "retire":
            return step
        if made.goal == "withdraw":
            return replace(step, title=f"remove {step.app_id}")
        there = next(one for one in self.group.colours.values() if one.service == step.app_id)
        stays = there.replicas
        if made.old is not None and step.app_id == made.old.app_id:
            stays = min(there.replicas, there.replicas if keep is None else keep)
        else:
            stays = 0  # a new version that is given up
        if stays == there.replicas:
            return None
        return replace(step, title=f"scale {step.app_id} down to {stays}", count=there.replicas - stays)

    def _created(self, step: Step, copy_of: str) -> str:
        exists = any(one.service == step.app_id for one in self.group.colours.values())
        what = (
            f"define {step.app_id} like {copy_of}" if copy_of else f"{'update' if exists else 'create'} {step.app_id}"
        )
        if exists and not copy_of:
            what += f" to {self.request.version}"
        return f"{what}, with {step.count} replicas" + (" and without traffic" if step.other_id else "")


def _no_counts(_receiving: int, other: int, _target: int) -> int:
    """The weights decide about the traffic, and the counts about nothing."""
    return other


def _in_playbooks(note: str) -> str:
    """The planner names the playbooks of Marathon."""
    for goal in ("promote", "rollback"):
        note = note.replace(f"zdd.rollout.{goal}", f"zdd.rollout.swarm_{goal}")
    return note.replace("promote removes it", "promote scales it down")


def _deploy(planning: _Planning) -> SwarmPlan:
    group, request = planning.group, planning.request
    _refuse_disagreement(planning)
    _refuse_colour_with_traffic(planning)
    if group.split:
        return _deploy_over_a_split(planning)
    serving = planning.serving()
    if serving is None:
        return _deploy_first(planning)
    live, other = planning.service(serving), group.colours.get(other_colour(serving))
    count = request.replicas or live.replicas
    if not live.runs(request.definition):
        made, let_in = planning.planned("deploy", serving, None, count=count, colour=request.colour)
        return planning.done(made, let_in=let_in, keep=request.keep, start=live.version, end=request.version)
    if count < live.replicas:
        shrunk = _renewed(planning, serving, count)
        note = f"{live.service} has {live.replicas} replicas, and {count} are wanted: the idle colour gets as many."
        return replace(shrunk, plan=replace(shrunk.plan, notes=(note, *shrunk.plan.notes)))
    if other is not None and not planning.policy.keep_old and _is_left(other, live, request.keep):
        made, let_in = planning.planned("deploy", other.colour, serving, same=[live.service], count=count)
        return planning.done(made, let_in=let_in, keep=request.keep, start=other.version, end=live.version)
    made, let_in = planning.planned("deploy", serving, None, same=[live.service], count=count)
    return planning.done(made, let_in=let_in, start=live.version, end=live.version)


def _is_left(other: ServiceColour, live: ServiceColour, keep: int | None) -> bool:
    """Whether the rollout of ``live`` was interrupted before the older one was scaled down."""
    return keep is not None and other.deployed_at < live.deployed_at and other.replicas > keep


def _deploy_over_a_split(planning: _Planning) -> SwarmPlan:
    """A canary that goes on, or is rolled back because another version is wanted."""
    group, request = planning.group, planning.request
    old, new = (planning.service(colour) for colour in group.by_age())
    same = [one.service for one in (old, new) if one.runs(request.definition)]
    made, let_in = planning.planned("deploy", old.colour, new.colour, same=same, count=request.replicas)
    back = made.result == "rolled back"
    return planning.done(
        made,
        let_in=let_in,
        keep=request.keep,
        start=new.version if back else old.version,
        end=old.version if back else request.version,
    )


def _deploy_first(planning: _Planning) -> SwarmPlan:
    """Nothing has traffic: what is there may be overwritten. What runs the wanted definition is gone on with."""
    group, request = planning.group, planning.request
    ages = group.by_age()
    running = [colour for colour in ages if planning.service(colour).runs(request.definition)]
    colour = request.colour or next(iter([*running, *ages]), None)
    found = group.colours.get(colour) if colour else None
    count = request.replicas or (found.replicas if found else 0) or 1
    made, _unused = planning.planned("deploy", None, None, count=count, colour=colour, canary=False)
    notes = [f"No proxy sends requests to {planning.service(one).service}, so it is not live." for one in ages]
    return planning.done(replace(made, notes=(*notes, *made.notes)), end=request.version)


def _promote(planning: _Planning) -> SwarmPlan:
    group, request = planning.group, planning.request
    if not group.colours:
        raise InvalidInput("nothing_there", f"The group {group.name} has no service: there is nothing to promote.")
    if group.split:
        old, new = group.by_age()
    else:
        live = _live(planning)
        other = group.colours.get(other_colour(live))
        if other is None:
            return _served_everywhere(planning, live)
        newer = other.deployed_at > planning.service(live).deployed_at
        if newer and not other.replicas:
            note = f"{other.service} ({other.version}) was rolled back: nothing of it is there to promote."
            return _unchanged(planning, live, note)
        whole = group.traffic(live) is Traffic.ALL
        if not newer and whole and not _is_left(other, planning.service(live), request.keep):
            return _unchanged(planning, live)
        old, new = (live, other.colour) if newer else (other.colour, live)
    made, let_in = planning.planned("promote", old, new, count=request.replicas)
    versions = {"start": planning.service(old).version, "end": planning.service(new).version}
    return planning.done(made, let_in=let_in, keep=request.keep, **versions)


def _roll_back(planning: _Planning) -> SwarmPlan:
    group, request = planning.group, planning.request
    ages = group.by_age()
    if request.back_to is not None and request.back_to not in group.colours:
        raise InvalidInput(
            "nothing_there",
            f"Option back_to: there is no service {service_name(group.name, request.back_to)}.",
        )
    if len(ages) < 2:
        made, _unused = planning.planned("rollback", None, None, canary=False)
        only = planning.service(ages[0]) if ages else None
        note = f"Nothing to roll back in the group {group.name}."
        if only:
            note += f" {only.service} is its only service: to go back, roll out its old definition anew."
        version = only.version if only else None
        return planning.done(replace(made, notes=(note,)), start=version, end=version)
    to = request.back_to or ages[0]
    away = other_colour(to)
    stays, leaves = planning.service(to), planning.service(away)
    if group.traffic(to) is Traffic.ALL and (not leaves.replicas or ages[0] == away):
        # Nothing of a later version is there; an earlier one is as warm as it was before.
        return _unchanged(planning, to)
    made, _unused = planning.planned("rollback", to, away, canary=False)
    if ages[0] == away and not group.has_traffic(away):
        made = replace(made, steps=tuple(step for step in made.steps if step.name != "retire"))
    return planning.done(_healthy_when_scaled(made), start=leaves.version, end=stays.version)


def _withdraw(planning: _Planning) -> SwarmPlan:
    group, request = planning.group, planning.request
    ages = group.by_age()
    named = request.back_to or request.colour
    colour = named if named in ages else None
    if len(ages) > 1 and colour is None:
        raise InvalidInput(
            "nothing_there",
            f"The group {group.name} has two services; to take back the newer one is to roll back. Option colour says "
            "which one is to be removed.",
        )
    first = colour or next(iter(ages), None)
    made, _unused = planning.planned("withdraw", first, None, canary=False)
    return planning.done(made, start=planning.service(first).version if first else None)


def _toggle(planning: _Planning) -> SwarmPlan:
    """All requests go to the other colour, or to the one that was named. Both stay as they are."""
    group, request = planning.group, planning.request
    to = request.back_to or request.colour or group.idle
    if to is None:
        why = "the proxies disagree" if not group.agreed else "both colours have traffic" if group.split else "none has"
        raise InvalidInput(
            "nothing_live",
            f"No colour of the group {group.name} has all traffic ({why}{_told(group)}). Say with the option colour "
            f"which one is to be live: {' or '.join(group.by_age()) or 'there is none'}.",
        )
    if to not in group.colours:
        raise InvalidInput(
            "nothing_there",
            f"There is no service {service_name(group.name, to)}, so {to} cannot be made live. Deploy a version to it.",
        )
    stays = planning.service(to)
    away = group.colours.get(other_colour(to))
    if away is None or group.traffic(to) is Traffic.ALL:
        return _served_everywhere(planning, to)
    made, _unused = planning.planned("rollback", to, away.colour, canary=False)
    made = replace(made, steps=tuple(step for step in made.steps if step.name != "retire"))
    # Going back is to what was live a moment ago; how any other idle colour is, nobody knows.
    made = _healthy_when_scaled(made) if request.back_to else _proven(made, stays, planning.policy)
    made = replace(made, old=made.old and group.as_colour(away.colour), new_id=stays.service, new_colour=to)
    start = planning.service(serving).version if (serving := planning.serving()) else away.version
    return planning.done(made, result="toggled", start=start, end=stays.version)


def _proven(made: Plan, stays: ServiceColour, policy: Policy) -> Plan:
    """Before it takes over, it is healthy and passes its checks."""
    steps = made.steps
    at = next(index for index, step in enumerate(steps) if step.name == "switched")
    count = max([stays.replicas, *(step.count for step in steps if step.name == "scale")])
    proofs = [_healthy(stays.service, count)]
    if policy.checks:
        proofs.append(Step("checked", f"the checks pass at the tasks of {stays.service}", stays.service))
    return replace(made, steps=(*steps[:at], *proofs, *steps[at:]))


def _healthy_when_scaled(made: Plan) -> Plan:
    """Tasks that were started a moment ago are seen healthy before they get all traffic."""
    steps: list[Step] = []
    for step in made.steps:
        steps.append(step)
        if step.name == "scale":
            steps.append(_healthy(step.app_id, step.count))
    return replace(made, steps=tuple(steps))


def _healthy(service: str, count: int) -> Step:
    return Step("healthy", f"all {count} tasks of {service} are healthy", service, count=count)


def _renew(planning: _Planning) -> SwarmPlan:
    """The live definition in new tasks, by way of the idle colour."""
    group, request = planning.group, planning.request
    if group.split:
        old, new = (planning.service(colour) for colour in group.by_age())
        if not new.runs(old.definition):
            raise InvalidInput(
                "rollout_in_progress",
                f"Both colours of the group {group.name} have traffic{_told(group)}. Promote the later one or roll it "
                "back, then renew.",
            )
        made, _unused = planning.planned(
            "deploy", old.colour, new.colour, same=[new.service], count=request.replicas, canary=False
        )
        return planning.done(made, result="renewed", keep=request.keep, start=old.version, end=new.version)
    live = _live(planning)
    return _renewed(planning, live, request.replicas or planning.service(live).replicas)


def _renewed(planning: _Planning, colour: str, count: int) -> SwarmPlan:
    live, other = planning.service(colour), planning.group.colours.get(other_colour(colour))
    keep = planning.request.keep
    planning = replace(planning, request=replace(planning.request, version=live.version))
    versions = {"start": live.version, "end": live.version}
    if other is not None and other.runs(live.definition) and _is_left(other, live, keep) and count == live.replicas:
        made, _unused = planning.planned("deploy", other.colour, colour, same=[live.service], count=count, canary=False)
        return planning.done(made, result="renewed", keep=keep, **versions)
    made, _unused = planning.planned("deploy", colour, None, count=count, canary=False)
    return planning.done(made, result="renewed", keep=keep, copy_of=live.service, **versions)


def _scale(planning: _Planning) -> SwarmPlan:
    """Another count for the live colour, or for the one that was named. Which tasks go, Swarm decides.

    So a live colour is made smaller by way of the idle one, whose tasks are all there before any of the others goes.
    """
    group, request, count = planning.group, planning.request, planning.request.replicas
    if count is None:
        raise InvalidInput("invalid_option", "Option replicas is needed to scale: how many tasks there are to be.")
    if group.split:
        raise InvalidInput(
            "rollout_in_progress",
            f"Both colours of the group {group.name} have traffic{_told(group)}. Promote the later one or roll it "
            "back, then scale.",
        )
    colour = request.colour or _live(planning)
    there = group.colours.get(colour)
    if there is None:
        raise InvalidInput("nothing_there", f"There is no service {service_name(group.name, colour)} to scale.")
    serves = group.has_traffic(colour)
    if serves and count < 1:
        raise InvalidInput(
            "invalid_option", f"Option replicas is {count}; {there.service} is live and needs at least 1."
        )
    if count == there.replicas:
        return _served_everywhere(planning, colour) if serves else _unchanged(planning, colour)
    if serves and count < there.replicas:
        shrunk = _renewed(planning, colour, count)
        note = f"Which tasks go, Swarm decides: {group.name} turns to the idle colour, which gets {count}."
        return replace(shrunk, plan=replace(shrunk.plan, notes=(note, *shrunk.plan.notes)))
    if count > there.replicas:
        title = f"scale {there.service} from {there.replicas} to {count}"
        steps = [Step("scale", title, there.service, count=count)]
        if serves:
            steps.append(Step("switched", f"every LB serves {there.service}", there.service, count=count, share=100.0))
    else:
        other = service_name(group.name, other_colour(colour))
        title = f"scale {there.service} down to {count}"
        steps = [Step("retire", title, there.service, other, there.replicas - count)]
    made = Plan("scale", "scaled", group.as_colour(colour), None, None, count, count, False, tuple(steps))
    return SwarmPlan(made, group, (), there.version, there.version)


def _live(planning: _Planning) -> str:
    """The colour with the traffic.

    :raises InvalidInput: there is none.
    """
    colour = planning.serving()
    if colour is None:
        group = planning.group
        raise InvalidInput(
            "nothing_live",
            f"No proxy sends requests to a colour of the group {group.name}{_told(group)}. Deploy a version, or say "
            "which colour is live: zdd.rollout.swarm_toggle with swarm_bluegreen_colour.",
        )
    return colour


def _served_everywhere(planning: _Planning, colour: str) -> SwarmPlan:
    """What is live is made so at every proxy, also at one that was set up a moment ago."""
    there = planning.service(colour)
    if planning.group.traffic(colour) is Traffic.ALL:
        return _unchanged(planning, colour)
    made, _unused = planning.planned("deploy", colour, None, same=[there.service], count=there.replicas, canary=False)
    return planning.done(made, start=there.version, end=there.version)


def _unchanged(planning: _Planning, colour: str, *notes: str) -> SwarmPlan:
    there: Colour = planning.group.as_colour(colour)
    count = there.instances
    made = Plan(planning.request.goal, "unchanged", there, None, None, count, count, False, (), notes)
    return SwarmPlan(made, planning.group, (), there.version, there.version)


def _refuse_disagreement(planning: _Planning) -> None:
    """Who is live is decided by a person where some proxies send most requests here and some there.

    Unless a switch to the wanted version was interrupted, which explains it: then it goes on.
    """
    group = planning.group
    if not group.agreed and group.leading is None and not planning.is_resumed():
        raise InvalidInput(
            "proxies_disagree",
            f"The proxies of the group {group.name} disagree about who is live{_told(group)}. Say which colour is: "
            f"zdd.rollout.swarm_toggle with swarm_bluegreen_colour={' or '.join(group.by_age())}. Then deploy.",
        )


def _refuse_colour_with_traffic(planning: _Planning) -> None:
    group, colour = planning.group, planning.request.colour
    if colour is None or not group.has_traffic(colour):
        return
    there = group.colours.get(colour)
    if there is None or there.runs(planning.request.definition):
        return
    raise InvalidInput(
        "colour_is_live",
        f"Option colour is {colour}, and {there.service} has traffic{_told(group)}: a version is deployed to the "
        f"colour without any. Leave the option out, or say {other_colour(colour)}.",
    )


def _told(group: SwarmGroup) -> str:
    return f" ({group.who_serves_what()})" if group.views else ""


def check_ports(group: SwarmGroup, made: SwarmPlan, ports: Mapping[str, int | None], active_nodes: int) -> None:
    """Refuse fixed ports that cannot be had: a node has each port once.

    ``ports``: the port of each colour behind the proxies, ``None`` where Docker chooses.

    :raises InvalidInput: names the port, and what to give instead.
    """
    created = made.created
    if created is None:
        return
    colour = next(one for one in COLOURS if service_name(group.name, one) == created.app_id)
    port, other = ports.get(colour), group.colours.get(other_colour(colour))
    if port is None:
        return
    if other is not None and other.published_port == port and other.replicas:
        raise InvalidInput(
            "port_taken",
            f"The published port {port} is that of {other.service}, too, and a node has each port once. Leave "
            "published_port out, so that Docker chooses one for each task, or give each colour its own with the option "
            "published_ports.",
        )
    most = max([created.count, *(step.count for step in made.plan.steps if step.app_id == created.app_id)])
    if most > active_nodes:
        raise InvalidInput(
            "too_few_nodes",
            f"{created.app_id} is to have {most} replicas with the published port {port}, and {active_nodes} nodes are "
            "ready and active: each can have that port once. Leave published_port out, so that Docker chooses one for "
            "each task, or want fewer replicas.",
        )
