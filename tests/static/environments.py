# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments of other Pythons and other ansible-cores than the one that runs the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.static.tools import BUILD, ROOT

Version = tuple[int, int]


@dataclass(frozen=True)
class Core:
    """A release of ansible-core and the Pythons that a controller of it may have."""

    release: str
    pythons: tuple[Version, ...]


OLDEST = Core("2.18.0", ((3, 11), (3, 12), (3, 13)))
NEWEST = Core("2.21.5", ((3, 12), (3, 13), (3, 14)))


@cache
def interpreters() -> dict[Version, str]:
    """The Pythons of this machine, from 3.11 on, that can make an environment: version to path."""
    found: dict[Version, str] = {}
    for path in _candidates():
        code = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            major, minor = (int(part) for part in done.stdout.split())
            found.setdefault((major, minor), path)
    return found


def _candidates() -> Iterator[str]:
    yield sys.executable
    for minor in range(11, 15):
        name = f"python3.{minor}"
        for folder in os.environ["PATH"].split(os.pathsep):
            path = shutil.which(name, path=folder)
            if path:
                yield path
        root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        yield from (str(path) for path in sorted(root.glob(f"versions/3.{minor}*/bin/{name}")))


def interpreter(core: Core, *, newest: bool) -> str:
    """The oldest or newest Python here that ``core`` supports. The test is skipped, saying so, where there is none."""
    usable = sorted(version for version in interpreters() if version in core.pythons)
    if not usable:
        wanted = ", ".join(f"{major}.{minor}" for major, minor in core.pythons)
        pytest.skip(f"ansible-core {core.release} needs one of Python {wanted}, none of which is installed here")
    return interpreters()[usable[-1 if newest else 0]]


def environment(core: Core, python: str) -> Path:
    """The folder of an environment with ``core`` and what the tests import, made when it is not there yet."""
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    folder = BUILD / "environments" / f"python-{version}-core-{core.release}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    requirements = ROOT / "tests" / "requirements-unit.txt"
    wanted = requirements.read_text()
    stamp = folder / "requirements.txt"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _make([python, "-m", "venv", "--clear", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _make([*pip, "--requirement", str(requirements), f"ansible-core=={core.release}"])
            stamp.write_text(wanted)
    return folder


def _make(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
