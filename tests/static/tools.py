# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tools that judge the tree, on a copy of it where they need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
BIN = Path(sys.executable).parent

_NOT_SOURCE = {".git", ".ansible", ".cache", ".hypothesis", ".pytest_cache", ".ruff_cache", "__pycache__", "build"}


@cache
def source_files() -> tuple[Path, ...]:
    """The files of the working copy, relative to its root: what git tracks or would track; without git all of them."""
    if not (ROOT / ".git").exists():
        return tuple(sorted(_walk(ROOT)))
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _NOT_SOURCE:
            continue
        if entry.is_dir():
            yield from _walk(entry)
        else:
            yield entry.relative_to(ROOT)


def copied_collection(folder: Path) -> Path:
    """Copy the source to ``folder``/ansible_collections/zdd/rollout and return that path.

    ansible-test takes a collection only under such a path, and gives false results inside a git repository.
    """
    copy = folder / "ansible_collections" / "zdd" / "rollout"
    for path in source_files():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    add_other_collections(folder)
    return copy


def add_other_collections(folder: Path) -> None:
    """Let ``folder`` have the collections that ours uses for Docker Swarm, which tests/setup/collections.sh fetched."""
    for collection in (BUILD / "collections" / "ansible_collections").glob("community"):
        (folder / "ansible_collections").mkdir(parents=True, exist_ok=True)
        (folder / "ansible_collections" / collection.name).symlink_to(collection.resolve())


def run(
    command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None, venv: Path = BIN.parent
) -> str:
    """Run a tool of the environment ``venv``; return what it printed. The test fails, showing that, when it fails."""
    environment = {
        **os.environ,
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
        **(env or {}),
    }
    tool = shutil.which(command[0], path=environment["PATH"])
    if tool is None:
        pytest.fail(f"{command[0]} is not installed in {venv}; `make test` installs it.")
    done = subprocess.run(
        [tool, *command[1:]],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout
