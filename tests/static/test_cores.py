# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit tests hold with the oldest and with the newest supported ansible-core, too."""

from __future__ import annotations

import tempfile

import pytest

from tests.static import environments
from tests.static.tools import run


@pytest.mark.parametrize(
    ("core", "newest_python"),
    [(environments.OLDEST, False), (environments.NEWEST, True)],
    ids=["oldest", "newest"],
)
def test_the_unit_tests_hold_with_another_core(core: environments.Core, newest_python: bool) -> None:
    python = environments.interpreter(core, newest=newest_python)
    venv = environments.environment(core, python)

    # A short path: the tests have UNIX sockets in it, whose paths may not exceed 108 bytes.
    with tempfile.TemporaryDirectory() as folder:
        run(
            ["python", "-m", "pytest", "-q", "-n", "0", f"--basetemp={folder}/t", "tests/unit"],
            venv=venv,
            env={"ANSIBLE_HOME": f"{folder}/home", "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis"},
        )
