# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the collection fit together: what one names, another one has."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.static.tools import ROOT, source_files

PLUGINS = ROOT / "plugins"
HEADER = "\n".join(Path(__file__).read_text().splitlines()[:3])

# The options that tell a plugin where the system is, and the action group that sets them once.
CONNECTIONS = {
    "marathon_url": "marathon",
    "marathon_lb_url": "marathon_lb",
    "socket": "haproxy",
    "docker_host": "swarm",
}


def names(folder: str) -> set[str]:
    """The public Python files of a folder of plugins/, without their ending."""
    return {path.stem for path in (PLUGINS / folder).glob("*.py") if not path.stem.startswith("_")}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def operation(name: str) -> ModuleType:
    return importlib.import_module(f"ansible_collections.zdd.rollout.plugins.module_utils._operations.{name}")


def texts() -> list[tuple[Path, str]]:
    """The text files of the working copy, except the licence."""
    found = []
    for path in source_files():
        if path.name == "LICENSE":
            continue
        try:
            found.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def roles() -> list[str]:
    return sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())


def test_each_module_has_an_action_plugin_and_an_operation_of_its_name() -> None:
    assert names("modules") == names("action") == names("module_utils/_operations")


def test_action_groups_name_plugins_that_exist() -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    named = {name for members in groups.values() for name in members}
    assert named - names("modules") == set()


@pytest.mark.parametrize("name", sorted(names("module_utils/_operations")))
def test_a_plugin_that_needs_a_connection_is_in_the_group_that_gives_it(name: str) -> None:
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    connections = {group for option, group in CONNECTIONS.items() if option in operation(name).ARGUMENT_SPEC}
    assert connections <= {group for group, members in groups.items() if name in members}


@pytest.mark.parametrize("role", roles())
def test_what_a_role_sets_for_an_action_group_is_known_to_all_its_members(role: str) -> None:
    """One that does not know an option refuses to run."""
    groups = load(ROOT / "meta" / "runtime.yml")["action_groups"]
    unknown = [
        f"{name}: {option}"
        for path in (ROOT / "roles" / role / "tasks").rglob("*.yml")
        for task in load(path)
        for target, options in task.get("module_defaults", {}).items()
        if "zdd.rollout." in target  # what other collections' modules take, they say themselves
        for name in (groups[target.rpartition(".")[2]] if target.startswith("group/") else [target.rpartition(".")[2]])
        for option in set(_evaluated(role, options)) - set(operation(name).ARGUMENT_SPEC)
    ]
    assert unknown == []


def _evaluated(role: str, options: Any) -> dict[str, Any]:
    """Options, also those that are evaluated once into a variable NAME: vars/main.yml has them as NAME_options.

    A variable without such options has a user's own, which a plan checks.
    """
    if isinstance(options, str):
        return load(ROOT / "roles" / role / "vars" / "main.yml").get(f"{options.strip('{} ')}_options", {})
    return options


@pytest.mark.parametrize("role", roles())
def test_the_tasks_of_a_role_give_modules_the_options_that_they_take(role: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {option}"
        for path in (ROOT / "roles" / role).rglob("*.yml")
        if path.parent.name != "meta"
        for task in tasks(load(path))
        for name in names("modules")
        for option in set(_evaluated(role, task.get(f"zdd.rollout.{name}") or {})) - set(operation(name).ARGUMENT_SPEC)
    ]
    assert wrong == []


def tasks(document: Any) -> Iterator[dict[str, Any]]:
    """All mappings of a document that may be tasks, those inside blocks too."""
    if isinstance(document, dict):
        yield document
        for value in document.values():
            yield from tasks(value)
    elif isinstance(document, list):
        for value in document:
            yield from tasks(value)


@pytest.mark.parametrize("role", roles())
def test_the_defaults_of_a_role_are_those_of_its_argument_specs(role: str) -> None:
    """The specs only check: what they call a default has to stand in defaults/main.yml, too."""
    folder = ROOT / "roles" / role
    options = load(folder / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(folder / "defaults" / "main.yml") or {}
    assert {name: option["default"] for name, option in options.items() if "default" in option} == {
        name: value for name, value in defaults.items() if name in options and not _required(options[name])
    }
    assert set(defaults) <= set(options), "a default that the specs do not know"


def _required(option: dict[str, Any]) -> bool:
    return bool(option.get("required"))


@pytest.mark.parametrize("role", roles())
def test_every_variable_of_a_role_says_what_it_is(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    silent = [
        name
        for spec in specs.values()
        for name, option in spec.get("options", {}).items()
        if not option.get("description") or not option.get("type")
    ]
    assert silent == []


@pytest.mark.parametrize("role", roles())
def test_the_variables_of_a_role_carry_its_name(role: str) -> None:
    options = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert [name for name in options if not name.removeprefix("__").startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", roles())
def test_every_variable_that_the_tasks_of_a_role_use_is_in_its_argument_specs(role: str) -> None:
    folder = ROOT / "roles" / role
    known = set(load(folder / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    used = {
        name
        for path in folder.rglob("*.yml")
        if path.parent.name != "meta"
        for name in re.findall(rf"(?<![\w.]){role}_[a-z_]+\b", path.read_text())
    }
    # Set on an include of a user's task file, as in roles/bluegreen/tasks/steps/hook.yml: given, not taken.
    given = {
        name
        for path in (folder / "tasks").rglob("*.yml")
        for task in load(path)
        if "ansible.builtin.include_tasks" in task
        for name in task.get("vars") or {}
    }
    modules = names("modules")
    assert used - known - modules - given == set()


@pytest.mark.parametrize(
    "path", [path for path in source_files() if path.suffix == ".py" and path.parts[0] in ("plugins", "tests")], ids=str
)
def test_python_files_begin_with_the_licence_and_lazy_annotations(path: Path) -> None:
    text = (ROOT / path).read_text()
    assert text.removeprefix("#!/usr/bin/python\n").startswith(HEADER)
    statements = ast.parse(text).body
    if any(not isinstance(statement, ast.Expr) for statement in statements):
        assert re.search(r"^from __future__ import annotations$", text, re.MULTILINE)


def test_imports_inside_the_collection_are_relative() -> None:
    """Only then are they packed into a module however the collection is reached."""
    absolute = [
        str(path)
        for path, text in texts()
        if path.parts[0] == "plugins" and re.search(r"^\s*(from|import) ansible_collections", text, re.MULTILINE)
    ]
    assert absolute == []


def test_no_module_utils_name_shadows_the_standard_library() -> None:
    shadowing = {path.stem for path in (PLUGINS / "module_utils").rglob("*.py")} & set(sys.stdlib_module_names)
    assert {name for name in shadowing if not name.startswith("_")} - _inside_packages(shadowing) == set()


def _inside_packages(shadowing: set[str]) -> set[str]:
    # A file in a package of ours is imported by its dotted name and shadows nothing.
    return {name for name in shadowing if not (PLUGINS / "module_utils" / f"{name}.py").exists()}


def test_the_tree_names_no_path_of_a_machine() -> None:
    personal = re.compile(r"(?<![\w.~-])/(?:home|root|Users)/\w")
    here = str(ROOT) if len(ROOT.parts) > 2 else "\0"
    found = [str(path) for path, text in texts() if personal.search(text) or f"{here}/" in text]
    assert found == []


def test_the_tree_names_no_package_index() -> None:
    """Where packages come from is a matter of the machine's pip configuration."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    named = {urlsplit(url).hostname or "" for url in re.findall(r"https?://[^\s']+", listing)}
    hosts = {host for host in named if re.search(r"[a-z]\.[a-z]", host)}  # an address of this machine tells nothing
    options = re.compile(r"--(?:extra-)?index-url[ =]|PIP_(?:EXTRA_)?INDEX_URL=")
    found = [
        str(path)
        for path, text in texts()
        if (options.search(text) and path != Path(__file__).relative_to(ROOT)) or any(host in text for host in hosts)
    ]
    assert found == []


def test_requirements_are_pinned_exactly() -> None:
    loose = [
        line
        for path in (ROOT / "tests").glob("*.txt")
        for line in path.read_text().splitlines()
        if line and not line.startswith(("#", "-")) and "==" not in line.partition(";")[0]
    ]
    assert loose == []


def test_the_newest_release_of_the_changelog_is_the_version_of_the_collection() -> None:
    releases = load(ROOT / "changelogs" / "changelog.yaml")["releases"]
    newest = max(releases, key=lambda version: [int(part) for part in version.split(".")])
    assert newest == load(ROOT / "galaxy.yml")["version"]
