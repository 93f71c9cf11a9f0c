# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which colour nginx sends a request to: files that it looks for at each request, and how they are changed.

* ``live/green``: green is live, else blue;
* ``share/blue/bN``, ``share/green/bN`` (N: 0 to 99): the requests of bucket N go to that colour, whatever is live.
  Where both are there, green counts;
* ``closing``: each answer closes its connection.

All decisions are made on ``Files``, a value; ``observed`` and ``apply`` touch the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from .._errors import OperationError
from .configuration import COLOURS, other

BUCKETS = 100

_BUCKET = re.compile(r"b(\d|[1-9]\d)")


@dataclass(frozen=True)
class Files:
    """``live``: the colour of the live file; ``blue`` and ``green``: the buckets with a file for that colour."""

    live: str = "blue"
    blue: frozenset[int] = field(default_factory=frozenset)
    green: frozenset[int] = field(default_factory=frozenset)

    def colour_of(self, bucket: int) -> str:
        """Where the requests of a bucket go."""
        if bucket in self.green:
            return "green"
        return "blue" if bucket in self.blue else self.live

    def buckets(self, colour: str) -> list[int]:
        """The buckets that go to a colour; as many as percent."""
        return [bucket for bucket in range(BUCKETS) if self.colour_of(bucket) == colour]

    @property
    def share(self) -> dict[str, int]:
        """Percent by colour."""
        return {colour: len(self.buckets(colour)) for colour in COLOURS}


@dataclass(frozen=True)
class Step:
    """One file that is made (``present``) or removed; its path below the folder."""

    path: str
    present: bool


def percent(share: float) -> int:
    """A share as whole percent. One between 0 and 100 does not become 0 or 100, which would be a switch."""
    if share in (0, BUCKETS):
        return int(share)
    return max(1, min(BUCKETS - 1, int(share + 0.5)))


def steps(files: Files, colour: str, share: int) -> Iterator[Step]:
    """What to do, in this order, so that ``colour`` has ``share`` percent.

    At each moment between two steps each bucket goes where it went before or where it will go, and turns once at most:
    the share only grows or only shrinks. With 0 and 100 the live file is turned first and no file of a bucket is left.
    With a share between, the live file stays; the buckets that turn are those with the lowest numbers first (and turn
    back highest first), so that all load balancers that came the same way send the same buckets to the same colour.
    """
    if share in (0, BUCKETS):
        live = colour if share else other(colour)
        if files.live != live:
            yield Step("live/green", live == "green")
        # First the files that are against it, then those that agree with the live file and do nothing any more.
        for against in (other(live), live):
            yield from (_step(against, bucket, False) for bucket in sorted(_of(files, against), reverse=True))
        return
    idle = other(files.live)
    wanted = share if colour == idle else BUCKETS - share
    now = files.buckets(idle)
    rest = [bucket for bucket in range(BUCKETS) if bucket not in now]
    kept = set(now[:wanted]) | set(rest[: max(0, wanted - len(now))])
    # Files of the live colour do nothing where they agree with the live file; those that hide a file of the idle colour
    # go after it.
    if files.live == "blue":
        yield from (_step(idle, bucket, False) for bucket in sorted(files.green - kept, reverse=True))
        yield from (_step("blue", bucket, False) for bucket in sorted(files.blue))
    else:
        yield from (_step(idle, bucket, False) for bucket in sorted(files.blue - kept, reverse=True))
        yield from (_step("green", bucket, False) for bucket in sorted(files.green))
    yield from (_step(idle, bucket, True) for bucket in sorted(kept - _of(files, idle)))


def after(files: Files, step: Step) -> Files:
    """What the files are after a step."""
    kind, _separator, rest = step.path.partition("/")
    if kind == "live":
        return Files("green" if step.present else "blue", files.blue, files.green)
    colour, _separator, name = rest.partition("/")
    buckets: Mapping[str, frozenset[int]] = {"blue": files.blue, "green": files.green}
    changed = {int(name[1:])}
    now = buckets[colour] | changed if step.present else buckets[colour] - changed
    return Files(files.live, **{**buckets, colour: now})


def observed(folder: str, system: str) -> Files:
    """Read the files. What is not there was never set: blue is live.

    :raises OperationError: a folder cannot be read.
    """
    try:
        return Files(
            "green" if os.path.isfile(os.path.join(folder, "live", "green")) else "blue",
            **{colour: _listed(os.path.join(folder, "share", colour)) for colour in COLOURS},
        )
    except OSError as error:
        raise OperationError(
            "unreadable_file", f"{system}: {error.filename} cannot be read: {error.strerror}", system=system
        ) from None


def prepare(folder: str, system: str) -> None:
    """Make the folders. The workers of nginx, another user, have to get to the files; they need not read them.

    :raises OperationError: one cannot be made.
    """
    try:
        for path in ("", "live", "share", "share/blue", "share/green"):
            made = os.path.join(folder, path)
            if not os.path.isdir(made):
                os.makedirs(made, exist_ok=True)
                os.chmod(made, 0o755)
    except OSError as error:
        raise OperationError(
            "unwritable_file", f"{system}: {error.filename} cannot be made: {error.strerror}", system=system
        ) from None


def apply(folder: str, step: Step, system: str) -> None:
    """Make or remove one file.

    :raises OperationError: it cannot be done.
    """
    path = os.path.join(folder, step.path)
    try:
        if step.present:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as error:
        verb = "made" if step.present else "removed"
        raise OperationError(
            "unwritable_file", f"{system}: {path} cannot be {verb}: {error.strerror}", system=system
        ) from None


def close_connections(folder: str, closing: bool, system: str) -> None:
    """Let each answer close its connection with the client, or let connections be kept.

    :raises OperationError: the file cannot be made or removed.
    """
    apply(folder, Step("closing", closing), system)


def keep(folder: str) -> None:
    """Let the folders outlive a power failure: with a forgotten live file the colour that was stopped would be live."""
    for path in ("live", "share/blue", "share/green"):
        handle = os.open(os.path.join(folder, path), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _of(files: Files, colour: str) -> frozenset[int]:
    return files.green if colour == "green" else files.blue


def _step(colour: str, bucket: int, present: bool) -> Step:
    return Step(f"share/{colour}/b{bucket}", present)


def _listed(folder: str) -> frozenset[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return frozenset()
    return frozenset(int(name[1:]) for name in names if _BUCKET.fullmatch(name))
