# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a canary as a user gives them, checked and made whole."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput

OPTION = "canary_steps"
_KEYS = ("instances", "weight", "bake", "pause")
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0", "")


@dataclass(frozen=True)
class Stage:
    """How far the new version is let in: ``instances`` of it, with ``weight`` percent of the requests.

    ``weight`` is ``None`` where the counts of instances decide about the traffic. ``bake_seconds``: how long it is
    watched so; ``pause``: a person decides whether it goes on.
    """

    instances: int
    weight: float | None
    bake_seconds: float = 0
    pause: bool = False


def stages(given: Sequence[Any], target: int, *, weighted: bool) -> tuple[Stage, ...]:
    """The stages of ``given``, and a last one with everything where the last one given is not that.

    ``target`` is the count of the whole app. ``weighted``: the load balancers can split the traffic by weight, so a
    stage without ``instances`` has as many as its share needs, and one without ``weight`` leaves the traffic as it is
    (before the first weight: without any). Otherwise the traffic follows the counts.

    :raises InvalidInput: names the step, what was found and what is accepted.
    """
    made: list[Stage] = []
    before = Stage(0, 0.0 if weighted else None)
    for number, step in enumerate(given, 1):
        stage = _stage(number, step, before, target, weighted=weighted)
        if (stage.instances, stage.weight) == (before.instances, before.weight):
            percent = "" if stage.weight is None else f", {stage.weight:g} %"
            raise _refused(
                number,
                "it changes neither instances nor weight; like the step before it, it has "
                f"{stage.instances} of {target} instances{percent}. Put bake and pause there",
            )
        made.append(stage)
        before = stage
    whole = Stage(target, 100.0 if weighted else None)
    if made and (before.instances, before.weight) != (whole.instances, whole.weight):
        made.append(whole)
    return tuple(made)


def _stage(number: int, step: Any, before: Stage, target: int, *, weighted: bool) -> Stage:
    if not isinstance(step, Mapping):
        raise _refused(number, f"it is {step!r}, not a dictionary with some of {', '.join(_KEYS)}")
    unknown = [str(key) for key in step if key not in _KEYS]
    if unknown:
        raise _refused(number, f"it has {', '.join(sorted(unknown))}; a step has some of {', '.join(_KEYS)}")
    weight = _weight(number, step.get("weight"), before, weighted=weighted)
    instances = _instances(number, step.get("instances"), before, target, weight)
    return Stage(instances, weight, _seconds(number, step.get("bake")), _boolean(number, step.get("pause")))


def _weight(number: int, given: Any, before: Stage, *, weighted: bool) -> float | None:
    if given in (None, ""):
        return before.weight
    if not weighted:
        raise _refused(
            number,
            "it has a weight, which marathon-lb does not know: the traffic follows the counts, so give instances (or "
            "use plain HAProxy, lb_mode haproxy)",
        )
    weight = _number(given)
    if weight is None or not 0 <= weight <= 100:
        raise _refused(number, f"weight is {given!r}; it is a percentage from 0 to 100")
    if before.weight is not None and weight < before.weight:
        raise _refused(number, f"weight goes back from {before.weight:g} to {weight:g}")
    return weight


def _instances(number: int, given: Any, before: Stage, target: int, weight: float | None) -> int:
    if given in (None, ""):
        if weight is None and before.instances == 0:
            raise _refused(number, "it has no instances, and the traffic follows these")
        return max(before.instances, 1, math.ceil(target * weight / 100) if weight else 0)
    text = str(given).strip()
    share = re.fullmatch(r"(\d{1,3})\s*%", text)
    count = -(-target * int(share[1]) // 100) if share else int(text) if text.isdecimal() else 0
    if isinstance(given, bool) or count < 1:
        raise _refused(number, f"instances is {given!r}; it is a count of at least 1, or a share like 10%")
    if count > target:
        raise _refused(number, f"instances is {given!r}, and the app has {target}; a canary is not more than the app")
    if count < before.instances:
        raise _refused(number, f"instances goes back from {before.instances} to {count}")
    if weight == 100 and count < target:
        raise _refused(number, f"all traffic is to go to {count} instances, and the app has {target}")
    return count


def _seconds(number: int, given: Any) -> float:
    seconds = 0.0 if given in (None, "") else _number(given)
    if seconds is None or seconds < 0:
        raise _refused(number, f"bake is {given!r}; it is a number of seconds, 0 or more")
    return seconds


def _boolean(number: int, given: Any) -> bool:
    text = "" if given is None else str(given).strip().lower()
    if text not in _YES + _NO:
        raise _refused(number, f"pause is {given!r}; it is true or false")
    return text in _YES


def _number(given: Any) -> float | None:
    """A finite number, also as text with or without a percent sign."""
    if isinstance(given, bool):
        return None
    try:
        number = float(str(given).strip().removesuffix("%"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _refused(number: int, why: str) -> InvalidInput:
    return InvalidInput("invalid_option", f"Option {OPTION}, step {number}: {why}.")
