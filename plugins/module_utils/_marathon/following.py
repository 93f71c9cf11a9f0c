# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a replacement of tasks live, and help it where Marathon lets it stand still for ever."""

from __future__ import annotations

from collections.abc import Mapping

from .._invocation.context import Context
from .client import Marathon
from .events import Events
from .rolling import to_unblock
from .settling import Settling, Sight
from .tally import Tally

# Seconds: how often the picture is drawn anew, and how long nothing may move before somebody looks why: where old
# tasks are there that serve nobody, and where not, besides the time that a task is given to end. Then twice as long
# each time, so that requests do not grow with the time.
_PICTURE_PAUSE = 0.5
_STANDSTILL_IDLE, _STANDSTILL = 1.0, 3.0


class Following(Settling):
    """A :class:`Settling` that shows the ``tally``'s picture as it changes; that costs no request.

    ``keep``: so many healthy tasks have to stay when an old one is killed to end a standstill. ``grace``: how long (s)
    a task that is killed may take to end.
    """

    def __init__(
        self,
        marathon: Marathon,
        app_id: str,
        context: Context,
        *,
        offer_timeout: float,
        tally: Tally,
        keep: int,
        grace: float,
    ) -> None:
        super().__init__(marathon, app_id, context, offer_timeout=offer_timeout)
        self._keep = keep
        self._grace = grace
        self._tally = tally
        self._shown = tally.picture()
        self._still_since = context.now()
        self._patience = self._first_patience()
        self._blocked_at: str | None = None
        self._context.sample("versions", **tally.serving())

    def _look(self) -> Sight:
        sight = super()._look()
        self._tally.look(sight.app)
        picture = self._tally.picture()
        if picture != self._shown:
            self._moved(picture)
        elif self._stands_still():
            self._patience *= 2
            self._help(sight.app)
        return sight

    def _help(self, app: Mapping[str, object]) -> None:
        ids = to_unblock(app, self._keep)
        if not ids or self._marathon.queue_of(self._app_id) is not None:
            return
        if self._blocked_at != self._shown and not self._tally.idle():  # a look later it has to be so still
            self._blocked_at = self._shown
            self._patience = self._first_patience()
            return
        self._context.progress(f"{self._shown}  stands still: kill {', '.join(ids)}")
        self._marathon.kill_tasks(ids)

    def _rest(self, events: Events, seconds: float) -> None:
        until = self._context.now() + seconds
        while (left := until - self._context.now()) > 0 and not events.rest(min(left, _PICTURE_PAUSE)):
            picture = self._tally.picture()
            if picture != self._shown:
                self._context.progress(picture)
                self._moved(picture)
            elif self._stands_still() and not self._tally.starting():
                return

    def _moved(self, picture: str) -> None:
        self._shown, self._still_since = picture, self._context.now()
        self._patience, self._blocked_at = self._first_patience(), None
        self._context.sample("versions", **self._tally.serving())

    def _first_patience(self) -> float:
        return _STANDSTILL_IDLE if self._tally.idle() else _STANDSTILL + self._grace

    def _stands_still(self) -> bool:
        return self._context.now() - self._still_since >= self._patience

    def _witness(self, event: Mapping[str, object]) -> None:
        self._tally.event(event)

    def _said(self, missing: str) -> str:
        return f"{self._shown}  {missing}"
