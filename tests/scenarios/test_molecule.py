# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios: the role as a user's own playbook runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.static.tools import BUILD, ROOT, run

SCENARIOS = sorted(path.parent.name for path in (ROOT / "extensions" / "molecule").glob("*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_scenario_passes(scenario: str, tmp_path: Path) -> None:
    run(
        ["molecule", "test", "--scenario-name", scenario],
        cwd=ROOT / "extensions",
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "MOLECULE_EPHEMERAL_DIRECTORY": os.fspath(tmp_path / "molecule"),
        },
    )
