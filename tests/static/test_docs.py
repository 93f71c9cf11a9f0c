# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README.md and docs/ say is there, and their examples can be used as they stand."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.static.tools import ROOT, run

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a page in one of ``languages``: line number and text."""
    pattern = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text = page.read_text()
    for found in pattern.finditer(text):
        if found[1] in languages:
            yield text.count("\n", 0, found.start()) + 2, found[2]


@cache
def variables() -> frozenset[str]:
    """The variables of all roles, those of the playbooks around them, and those that a user's task files are given."""
    playbooks = {
        name for path in ROOT.glob("playbooks/*.yml") for name in re.findall(r"\b(bluegreen_\w+) \|", path.read_text())
    }
    given = {
        name
        for path in ROOT.glob("roles/*/tasks/**/*.yml")
        for task in nodes(yaml.safe_load(path.read_text()))
        for name in task.get("vars") or {}
        if not name.startswith("__")
    }
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    return frozenset(playbooks | given) | frozenset(
        name for spec in specs for entry in spec["argument_specs"].values() for name in entry.get("options", {})
    )


@cache
def options() -> dict[str, frozenset[str]]:
    """Module name to its options."""
    found = {}
    for path in (ROOT / "plugins" / "module_utils" / "_operations").glob("[a-z]*.py"):
        operation = importlib.import_module(
            f"ansible_collections.zdd.rollout.plugins.module_utils._operations.{path.stem}"
        )
        found[path.stem] = frozenset(operation.ARGUMENT_SPEC)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_tree_lead_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _separator, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        place = (page.parent / path) if path else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            lost.append(target)
    assert lost == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_role_variable_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bbluegreen_[a-z_]*[a-z]\b", page.read_text()))
    assert named - variables() - set(options()) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bzdd\.rollout\.([a-z_]+)", page.read_text()))
    there = {path.stem for pattern in ("plugins/modules/*.py", "playbooks/*.yml") for path in ROOT.glob(pattern)}
    there |= {path.name for path in (ROOT / "roles").glob("*")}
    there |= set(yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"])
    assert named - there == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)\b(?=[`\s])", "\n".join(code(page)))) - targets == set()


def code(page: Path) -> list[str]:
    """What stands in code blocks and between backquotes."""
    text = page.read_text()
    return [found + "\n" for found in re.findall(r"^```.*?^```$|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_and_json_examples_can_be_read(page: Path) -> None:
    for line, text in blocks(page, "yaml", "json"):
        try:
            json.loads(text) if text.lstrip().startswith(("{", "[")) else yaml.safe_load(text)
        except (ValueError, yaml.YAMLError) as error:
            pytest.fail(f"{page.name}:{line}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_give_modules_and_roles_what_they_take(page: Path) -> None:
    wrong = []
    for line, text in blocks(page, "yaml"):
        for node in nodes(yaml.safe_load(text)):
            for name, known in options().items():
                given = node.get(f"zdd.rollout.{name}")
                if isinstance(given, dict):
                    wrong += [f"{line}: {name}: {option}" for option in set(given) - known]
    assert wrong == []


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_playbooks_in_examples_pass_the_syntax_check(page: Path, tmp_path: Path) -> None:
    for line, text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if not (isinstance(document, list) and any("hosts" in play for play in document if isinstance(play, dict))):
            continue
        playbook = tmp_path / f"{page.stem}-{line}.yml"
        playbook.write_text(text)
        run(
            ["ansible-playbook", "--syntax-check", "-i", "localhost,", str(playbook)],
            env={"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections")},
        )
