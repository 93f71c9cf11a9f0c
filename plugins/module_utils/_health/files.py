# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a health check: its log, which also tells what the check before it saw, and the heartbeat."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._errors import InvalidInput, OperationError

MODE = 0o640  # who may read logs is in the group of the file

_TAIL = 4 * 1024 * 1024
_LOCK_SECONDS = 1.0
_LOCK_PAUSE = 0.02


def checked_path(option: str, path: str) -> None:
    """Refuse what is there and is no file: to read from a pipe or a terminal would never end.

    :raises InvalidInput: it is one.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise InvalidInput("invalid_option", f"Option {option}: {path} is no file.")


def append(path: str, line: str, max_bytes: int) -> None:
    """Append a line by one write, so that lines of checks that run at the same time never mix.

    A file that would grow beyond ``max_bytes`` (0: never) becomes ``path`` + ``.1`` before that; an older one of that
    name is lost.

    :raises OperationError: code ``not_logged``.
    """
    try:
        descriptor = _locked(path, len(line.encode()) + 1, max_bytes)
        try:
            # What a check wrote that was killed in the middle must not spoil this line.
            torn = _lacks_line_end(descriptor)
            data = (b"\n" if torn else b"") + line.encode() + b"\n"
            if os.write(descriptor, data) != len(data):
                raise OSError("only a part of the line was written; is the disk full?")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OperationError(
            "not_logged", f"{path} cannot be written: {error.strerror or error}", system=path
        ) from None


def _locked(path: str, size: int, max_bytes: int) -> int:
    """A descriptor of the log that is in place, locked against those who would rotate it at the same time."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        descriptor = _opened(path)
        try:
            locked = _lock(descriptor, deadline)
            status = os.fstat(descriptor)
            if not _is_at(path, status):  # somebody has rotated it in the meantime
                os.close(descriptor)
                continue
            is_full = max_bytes and status.st_size and status.st_size + size > max_bytes
            if not (locked and is_full):
                return descriptor
            os.replace(path, f"{path}.1")
            os.close(descriptor)
        except OSError:
            with suppress(OSError):
                os.close(descriptor)
            raise


def _opened(path: str) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, MODE)
    os.fchmod(descriptor, MODE)  # whatever the umask is
    return descriptor


def _lock(descriptor: int, deadline: float) -> bool:
    """Whether the lock was taken. Somebody who keeps it for ever must not keep a check from being logged."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_PAUSE)


def _is_at(path: str, status: os.stat_result) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)


def _lacks_line_end(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def last(path: str, group: str | None) -> dict[str, Any] | None:
    """The last line of the log about ``group``, also where it has just been rotated; ``None``: there is none.

    Lines that are no JSON (of a check that was killed while it wrote) are passed over.

    :raises OperationError: code ``not_logged``: the log is there and cannot be read.
    """
    for name in (path, f"{path}.1"):
        for line in reversed(_tail(name).splitlines()):
            entry = _entry(line)
            if entry is not None and entry.get("group") == group:
                return entry
    return None


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "state" in entry and seconds_of(entry) is not None else None


def _tail(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OperationError("not_logged", f"{path} cannot be read: {error.strerror or error}", system=path) from None


def seconds_of(entry: Mapping[str, Any]) -> float | None:
    """When an entry was written, in seconds since 1970; ``None``: it does not say."""
    try:
        at = datetime.fromisoformat(str(entry.get("time")))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def touched_at(path: str) -> float | None:
    """When a file was touched last, in seconds since 1970; ``None``: it is not there.

    :raises OperationError: code ``no_heartbeat``.
    """
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_heartbeat(path, error) from None


def touch(path: str) -> None:
    """Make the file newly touched; it is created where it is not there.

    :raises OperationError: code ``no_heartbeat``.
    """
    try:
        descriptor = _opened(path)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _no_heartbeat(path, error) from None


def _no_heartbeat(path: str, error: OSError) -> OperationError:
    why = error.strerror or str(error)
    return OperationError("no_heartbeat", f"The heartbeat file {path} cannot be touched: {why}", system=path)
