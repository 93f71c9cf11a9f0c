# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-test sanity`` finds nothing, with the ansible-core of this environment, the oldest and the newest one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.static import environments
from tests.static.tools import BIN, BUILD, ROOT, copied_collection, run

SLOW = ("pylint", "import", "validate-modules")


@pytest.fixture(scope="session")
def home() -> Path:
    """A home for ansible-test, kept from run to run: its environments, and pip's configuration of the user.

    ansible-test hands only HOME on to pip, none of the variables that configure pip, so they go into a file.
    """
    folder = BUILD / "ansible-test"
    bootstraps(folder, BIN.parent)
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    # The environment comes after the files, as for pip itself; a line is NAME.KEY='VALUE' or :env:.KEY='VALUE'.
    lines = sorted(re.findall(r"^(:env:|[\w-]+)\.([\w-]+)='(.*)'$", listing, re.M), key=lambda line: line[0] == ":env:")
    settings = {key: value for section, key, value in lines if section in ("global", "install", ":env:")}
    configuration = folder / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.touch(mode=0o600)  # an index may have a password in its address
    configuration.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    return folder


def bootstraps(home: Path, venv: Path) -> None:
    """Put a stand-in where the ansible-test of ``venv`` looks for the get-pip.py that it would download."""
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    [requirements] = venv.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    for version in re.findall(r"\bpip='([\d.]+)'", requirements.read_text()):
        place = cache / f"get_pip_{version.replace('.', '_')}.py"
        staged = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.copyfile(ROOT / "tests" / "setup" / "get_pip.py", staged)
        staged.replace(place)


def sanity(*arguments: str, home: Path, folder: Path, venv: Path = BIN.parent) -> None:
    """Run ansible-test of ``venv`` with its own Python; the others of the machine may be none that work."""
    version = (venv / "pyvenv.cfg").read_text().partition("version = ")[2].split(".")
    run(
        ["ansible-test", "sanity", "--color", "no", "--python", ".".join(version[:2]), *arguments],
        cwd=copied_collection(folder),
        env={"HOME": str(home)},
        venv=venv,
    )


@pytest.mark.parametrize("only", [*SLOW, "the others"])
def test_ansible_test_sanity_finds_nothing(only: str, home: Path, tmp_path: Path) -> None:
    chosen = ["--test", only] if only in SLOW else [word for test in SLOW for word in ("--skip-test", test)]
    sanity(*chosen, home=home, folder=tmp_path)


@pytest.mark.parametrize(
    ("core", "newest_python"),
    [(environments.OLDEST, False), (environments.NEWEST, True)],
    ids=["oldest", "newest"],
)
def test_ansible_test_sanity_of_another_core_finds_nothing(
    core: environments.Core, newest_python: bool, home: Path, tmp_path: Path
) -> None:
    python = environments.interpreter(core, newest=newest_python)
    venv = environments.environment(core, python)
    bootstraps(home, venv)

    sanity(home=home, folder=tmp_path, venv=venv)
