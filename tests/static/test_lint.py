# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source is formatted, free of findings, and its fragments are readable."""

from __future__ import annotations

from pathlib import Path

from tests.static.tools import copied_collection, run


def test_ruff_finds_nothing() -> None:
    run(["ruff", "check", "--no-cache", "."])


def test_ruff_would_format_nothing() -> None:
    run(["ruff", "format", "--no-cache", "--check", "--diff", "."])


def test_ansible_lint_finds_nothing(tmp_path: Path) -> None:
    """Profile production; yamllint is part of it."""
    copy = copied_collection(tmp_path)
    run(
        ["ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor"],
        cwd=copy,
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
    )


def test_the_changelog_fragments_are_readable() -> None:
    run(["antsibull-changelog", "lint"])


def test_the_changelog_has_what_its_data_say(tmp_path: Path) -> None:
    """CHANGELOG.md is generated: edits by hand would be lost."""
    copy = copied_collection(tmp_path)
    written = (copy / "CHANGELOG.md").read_text()
    run(["antsibull-changelog", "generate"], cwd=copy, env={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path)})
    assert (copy / "CHANGELOG.md").read_text() == written
