# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection can be built, installed, and used from where it is installed."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.static.tools import BUILD, ROOT, add_other_collections, copied_collection, run


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    copy = copied_collection(folder)
    run(["ansible-galaxy", "collection", "build", "--output-path", str(folder)], cwd=copy)
    [built] = folder.glob("*.tar.gz")
    return built


def test_the_artifact_has_what_a_controller_needs_and_nothing_else(artifact: Path) -> None:
    with tarfile.open(artifact) as tar:
        parts = {Path(name).parts[0] for name in tar.getnames()}
    assert {"plugins", "meta", "README.md", "LICENSE", "CHANGELOG.md", "docs", "roles", "playbooks"} <= parts
    assert parts & {"tests", "build", "Makefile", ".github", ".ci", ".git"} == set()


def test_the_installed_collection_has_its_modules_and_playbooks(artifact: Path, tmp_path: Path) -> None:
    env = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"), "ANSIBLE_HOME": str(tmp_path / "home")}
    run(["ansible-galaxy", "collection", "install", "--offline", str(artifact)], cwd=tmp_path, env=env)

    add_other_collections(tmp_path / "collections")
    listed = run(["ansible-doc", "--list", "zdd.rollout"], cwd=tmp_path, env=env)
    for module in (ROOT / "plugins" / "modules").glob("[a-z]*.py"):
        assert f"zdd.rollout.{module.stem}" in listed
    for playbook in (ROOT / "playbooks").glob("*.yml"):
        run(
            ["ansible-playbook", "--syntax-check", "-i", "localhost,", f"zdd.rollout.{playbook.stem}"],
            cwd=tmp_path,
            env=env,
        )


def test_the_documentation_of_all_plugins_and_roles_renders(tmp_path: Path) -> None:
    """References, attributes and examples are checked, too."""
    copy = copied_collection(tmp_path)
    run(
        ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", str(copy)],
        cwd=copy,
        env={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(BUILD / "ansible")},
    )
