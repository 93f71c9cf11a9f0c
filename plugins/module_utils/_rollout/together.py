# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clusters and apps that are changed together do next: a pure decision, made at a barrier.

A wave is changed in three stages: all plans are made; every new version is let in and its old one kept warm; then all
old versions are removed, or all clusters go back. Between two stages nobody goes on before all have come to an end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

ON_FAILURE = ("wave", "all", "host")

PLANNED, KEPT, PAUSED, HELD, NOT_BEGUN = "planned", "kept", "paused", "held", "not begun"


@dataclass(frozen=True)
class Outcome:
    """What came of one app so far. ``failure`` is empty where all went well.

    ``follows``: it did not fail by itself, but went back because others did.
    """

    group: str
    result: str
    failure: str = ""
    follows: bool = False


@dataclass(frozen=True)
class Choice:
    """What the user has chosen. ``goes_back``: whether to go back at all when something fails."""

    on_failure: str = "wave"
    keep_old: bool = False
    goes_back: bool = True


@dataclass(frozen=True)
class Next:
    """``what`` one cluster does next: ``begin``, ``skip``, ``promote``, ``rollback`` or ``stay``; and why.

    ``outcomes`` are the given ones, changed where the decision itself is an outcome.
    """

    what: str
    reason: str
    outcomes: tuple[Outcome, ...]


Clusters = Mapping[str, Sequence[Outcome]]
Decision = dict[str, Next]

_LOST = Outcome("", "failed", "It has left the play before it told what came of it.")


def after_planning(wave: Clusters, earlier: Clusters, choice: Choice, *, rehearses: bool = False) -> Decision:
    """Whether the clusters of a wave begin, when all of their plans are made and nothing is changed yet.

    ``earlier`` has the clusters of the waves before. With ``host`` a cluster cares for no other one. Where the run
    ``rehearses``, earlier waves were only planned too.
    """
    wave = _complete(wave)
    earlier = {host: outcomes if rehearses else _begun(outcomes) for host, outcomes in _complete(earlier).items()}
    common = choice.on_failure != "host"
    before = _first_failure(earlier) if common else None
    if before is not None:
        return _skipped(wave, f"an earlier wave has failed, {before}")
    waiting = [host for host, outcomes in earlier.items() if _has(outcomes, PAUSED)] if common else []
    if waiting:
        return _skipped(wave, f"{', '.join(waiting)} of an earlier wave waits for a person", is_failure=False)
    failure = _first_failure(wave)
    if failure is not None and common:
        return _skipped(wave, failure)
    decision = {host: Next("begin", "", tuple(outcomes)) for host, outcomes in wave.items()}
    for host, outcomes in wave.items():
        own = _first_failure({host: outcomes})
        if own is not None:
            decision |= _skipped({host: outcomes}, own)
    return decision


def after_letting_in(wave: Clusters, choice: Choice, *, last: bool) -> Decision:
    """What a wave does when each of its clusters has the new version warm and admitted, or has failed.

    With ``all`` the old versions stay warm until the ``last`` wave is in: then there is a way back for every cluster.
    """
    wave = {host: _begun(outcomes) for host, outcomes in _complete(wave).items()}
    if choice.on_failure == "host":
        decision: Decision = {}
        for host, outcomes in wave.items():
            decision |= _common({host: outcomes}, choice, last=last)
        return decision
    return _common(wave, choice, last=last)


def _common(wave: Clusters, choice: Choice, *, last: bool) -> Decision:
    failure = _first_failure(wave)
    if failure is None:
        paused = [host for host, outcomes in wave.items() if _has(outcomes, PAUSED)]
        if paused:
            return _all(wave, "stay", f"{', '.join(paused)} waits for a person")
        if choice.keep_old:
            return _all(wave, "stay", "the old versions are to be kept")
        if choice.on_failure == "all" and not last:
            return _all(wave, "stay", "the old versions stay warm until the last wave is in")
        return _ended(wave, "promote", "every cluster has its new version warm and admitted", (KEPT,))
    held = [host for host, outcomes in wave.items() if _has(outcomes, HELD)]
    if held:
        return _all(wave, "stay", f"{', '.join(held)} is held: nobody goes on, and nobody goes back")
    if not choice.goes_back:
        return _all(wave, "stay", f"{failure}, and nobody is to go back by itself")
    return _ended(wave, "rollback", failure, (KEPT, PAUSED))


def _ended(wave: Clusters, what: str, reason: str, results: Sequence[str]) -> Decision:
    """Only clusters with an app of which two versions are there have anything to do."""
    return {
        host: Next(what, reason, tuple(outcomes))
        if any(_has(outcomes, result) for result in results)
        else Next("stay", "it has one version only", tuple(outcomes))
        for host, outcomes in wave.items()
    }


def _all(wave: Clusters, what: str, reason: str) -> Decision:
    return {host: Next(what, reason, tuple(outcomes)) for host, outcomes in wave.items()}


def _skipped(wave: Clusters, reason: str, *, is_failure: bool = True) -> Decision:
    """Nothing is begun. What has failed already keeps its own failure."""
    failure = f"Not begun: {reason}" if is_failure else ""
    return {
        host: Next(
            "skip",
            reason,
            tuple(one if one.failure else replace(one, result=NOT_BEGUN, failure=failure) for one in outcomes),
        )
        for host, outcomes in wave.items()
    }


def _complete(wave: Clusters) -> Clusters:
    """A cluster without any outcome has failed where nobody could see it."""
    return {host: outcomes or (_LOST,) for host, outcomes in wave.items()}


def _begun(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """What is only planned when all are in was not begun, since another app of its cluster failed before its turn.

    Where none failed, the cluster was lost in the middle: what it has done nobody knows.
    """
    if any(one.failure for one in outcomes):
        return [replace(one, result=NOT_BEGUN) if one.result == PLANNED else one for one in outcomes]
    return [replace(_LOST, group=one.group) if one.result == PLANNED else one for one in outcomes]


def _has(outcomes: Sequence[Outcome], result: str) -> bool:
    return any(outcome.result == result for outcome in outcomes)


def _first_failure(clusters: Clusters) -> str | None:
    """``frankfurt (shop_web): Rolled back: ...`` of the first that failed by itself, ``None`` when nothing did."""
    failed = [(host, outcome) for host, outcomes in clusters.items() for outcome in outcomes if outcome.failure]
    if not failed:
        return None
    by_themselves = (each for each in failed if each[1].result != NOT_BEGUN and not each[1].follows)
    host, outcome = next(by_themselves, failed[0])
    return f"{host} ({outcome.group}): {outcome.failure}" if outcome.group else f"{host}: {outcome.failure}"
