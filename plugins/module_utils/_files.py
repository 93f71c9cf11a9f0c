# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files of load balancers: read, and replaced at once. And where the programs are that test them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress

from ._errors import OperationError

# Where Debian has load balancers, when the path of the user that runs the module is without it.
_MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")


def text_of(path: str, system: str) -> str | None:
    """The text of a file, ``None`` where there is none.

    :raises OperationError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OperationError("unreadable_file", f"{system}: {path} cannot be read: {error}", system=system) from None


def write(path: str, text: str | None, system: str) -> None:
    """Put a text in the place of a file at once, or take the file away (``None``).

    A reader sees the old text or the new one, also after a power failure. The name of the file that is written first
    fits no usual ``include``.

    :raises OperationError: it cannot be written.
    """
    folder = os.path.dirname(path) or "."
    try:
        if text is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".zdd-", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OperationError(
            "unwritable_file", f"{system}: {path} cannot be written: {error.strerror}", system=system
        ) from None


def program(name: str) -> str:
    """The path of a program that is given by path or name; the name when it is not found."""
    if os.sep in name:
        return name
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_MORE_FOLDERS]
    paths = (os.path.join(folder, name) for folder in folders if folder)
    return next((path for path in paths if os.access(path, os.X_OK)), name)
