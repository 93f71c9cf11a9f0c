# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment group as it was observed, in words that no platform owns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

COLOURS = ("blue", "green")


class Traffic(Enum):
    """What the load balancers send to an app: of all of them together."""

    ALL = "all"  # every LB admits every task of it and none of the other app
    NONE = "none"  # no LB admits a task of it
    SOME = "some"  # anything between


@dataclass(frozen=True)
class Colour:
    """One app of a deployment group.

    ``instances`` is the wanted count, ``healthy`` the tasks that are alive, ``target`` the count that the app was
    deployed for (``None``: not deployed by this collection), ``version`` what people call it. ``turnable`` says
    whether all traffic can be turned to it and away from it at once; ``why_not`` says why it cannot.
    """

    app_id: str
    colour: str | None
    version: str
    instances: int
    healthy: int
    target: int | None
    traffic: Traffic
    turnable: bool
    why_not: str | None = None
    busy: bool = False  # a deployment of the platform is in progress
    # Percent of the requests that the LB which sends it most, and the one which sends it least, gives to it; both are
    # None where the traffic follows the counts.
    share: float | None = None
    lowest_share: float | None = None


@dataclass(frozen=True)
class Group:
    """A deployment group: ``old`` and ``new`` by the time of their deployment; a single app is ``old``."""

    name: str
    old: Colour | None
    new: Colour | None

    @property
    def settled(self) -> bool:
        """One app, all of it alive, nothing in progress."""
        return (
            self.old is not None and self.new is None and not self.old.busy and self.old.healthy >= self.old.instances
        )


def other_colour(colour: str | None) -> str:
    """The colour of the next version; the first one is blue."""
    return "green" if colour == "blue" else "blue"
