# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks do the same with the oldest and with the newest supported ansible-core."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.sandbox import launch
from tests.static import environments
from tests.static.tools import BUILD, run


@pytest.mark.parametrize(
    ("core", "newest_python"),
    [(environments.OLDEST, False), (environments.NEWEST, True)],
    ids=["oldest", "newest"],
)
def test_deploy_again_replace_and_keep_promote(core: environments.Core, newest_python: bool, tmp_path: Path) -> None:
    """A first deployment, nothing to do, a plan in check mode, a rollout that keeps the old version, its end."""
    venv = environments.environment(core, environments.interpreter(core, newest=newest_python))
    with launch.start() as sandbox:
        inventory = tmp_path / "inventory.json"
        cluster = {"marathon_url": sandbox.marathon, "marathon_lb_url": [lb["url"] for lb in sandbox.lbs]}
        inventory.write_text(json.dumps({"all": {"hosts": {"sandbox": cluster}}}))
        address = f"http://{sandbox.lbs[0]['host']}:10000/"

        def play(playbook: str, version: int, *options: str) -> int:
            """Return how many tasks changed something."""
            app = sandbox.app(id="/team/web", instances=2, env={"VERSION": str(version)})
            variables = tmp_path / "variables.json"
            variables.write_text(json.dumps({"bluegreen_app": app, "bluegreen_keep_old": True}))
            output = run(
                ["ansible-playbook", f"zdd.rollout.{playbook}", "-i", str(inventory), "-e", f"@{variables}", *options],
                cwd=tmp_path,
                venv=venv,
                env={"ANSIBLE_COLLECTIONS_PATH": str(BUILD / "collections"), "ANSIBLE_HOME": str(tmp_path / "home")},
            )
            # The collection may not use anything that the newest core says it will drop.
            assert "[DEPRECATION WARNING]" not in output
            return int(re.findall(r"changed=(\d+)", output)[-1])

        assert play("bluegreen", 1) > 0
        assert served(address) == "1"
        assert play("bluegreen", 1) == 0
        assert play("bluegreen", 2, "--check", "--diff") > 0
        assert served(address) == "1"
        assert play("bluegreen", 2) > 0
        assert served(address) == "2"
        assert play("promote", 2) > 0
        assert served(address) == "2"
        assert play("promote", 2) == 0


def served(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(json.load(answer)["version"])
