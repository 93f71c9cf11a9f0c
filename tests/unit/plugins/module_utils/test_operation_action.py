# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugin owes beside the operation: masking, warnings, plain types, and when it stands back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.zdd.rollout.plugins.module_utils._errors import Rejected
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.context import Context
from ansible_collections.zdd.rollout.plugins.module_utils._invocation.secrets import secrets_in_addresses, secrets_of
from ansible_collections.zdd.rollout.plugins.plugin_utils.operation_action import OperationAction, plain

SECRET = "hush-hush"
PLAYBOOK_PYTHON = "{{ ansible_playbook_python }}"


def operation(answer: Any) -> ModuleType:
    """An operation with one option of each kind; ``answer(params, context)`` is its ``run``."""
    module = ModuleType("some.path.an_operation")
    module.ARGUMENT_SPEC = {
        "name": {"type": "str", "required": True, "aliases": ["called"]},
        "password": {"type": "str", "no_log": True},
        "old": {"type": "str", "removed_in_version": "9.0.0", "removed_from_collection": "zdd.rollout"},
        "url": {"type": "str"},
        "account": {"type": "dict", "no_log": True},
        "owner": {"type": "str"},
        "process": {"type": "str"},
    }
    module.run = answer
    return module


def act(
    answer: Any,
    args: Mapping[str, Any],
    *,
    connection: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    module: Mapping[str, Any] | Exception = MappingProxyType({"by": "module"}),
) -> dict[str, Any]:
    """Run the action; ``{"by": "module"}`` is its result where it leaves the task to the module.

    ``module`` is what comes of that otherwise.
    """

    class Action(OperationAction):
        operation = None

        def _execute_module(self, **given: Any) -> dict[str, Any]:
            if isinstance(module, Exception):
                raise module
            return {**module, **given}

    Action.operation = operation(answer)
    fields = {
        "args": dict(args),
        "action": "zdd.rollout.an_operation",
        "resolved_action": "zdd.rollout.an_operation",
        "check_mode": False,
        "diff": False,
        "async_val": 0,
        "environment": [],
        "delegate_to": None,
        **(task or {}),
    }
    link = SimpleNamespace(
        **{
            "transport": "local",
            "become": None,
            "_shell": SimpleNamespace(tmpdir=None),
            "_remote_is_local": True,
            **(connection or {}),
        }
    )
    templar = SimpleNamespace(template=lambda text: sys.executable if text == PLAYBOOK_PYTHON else text)
    action = Action(SimpleNamespace(**fields), link, SimpleNamespace(), None, templar, None)
    return action.run(task_vars=dict(variables or {}))


def echo(params: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    return {"changed": False, "seen": dict(params)}


def refuse(_params: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    raise Rejected("rejected", f"no entry with {SECRET}", detail={"given": SECRET}, changed=True)


def break_down(_params: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    raise KeyError(SECRET)


def test_the_result_has_the_invocation_without_secrets() -> None:
    result = act(echo, {"name": "a", "password": SECRET})

    assert result["invocation"]["module_args"]["name"] == "a"
    assert result["invocation"]["module_args"]["password"] == result["seen"]["password"] != SECRET


@pytest.mark.parametrize("answer", [refuse, break_down])
def test_no_secret_is_in_a_failure(answer: Any) -> None:
    result = act(answer, {"name": "a", "password": SECRET})

    assert result["failed"]
    assert SECRET not in str(result)
    assert result["changed"] is (answer is refuse)


@pytest.mark.parametrize("end", [Rejected("rejected", "no"), KeyError("no")])
def test_a_failure_after_a_change_says_that_something_was_changed(end: Exception) -> None:
    def change_and_break(_params: Mapping[str, Any], context: Context) -> dict[str, Any]:
        context.changes.append("PUT /v2/apps/a")
        raise end

    assert act(change_and_break, {"name": "a"})["changed"] is True


def test_a_defect_is_named_and_is_no_traceback() -> None:
    result = act(break_down, {"name": "a"})

    assert result["msg"].startswith("Defect in an_operation: KeyError")
    assert result["failure"]["code"] == "internal_error"


def test_a_password_in_an_address_is_masked_too() -> None:
    result = act(echo, {"name": "a", "url": f"http://me:{SECRET}@host/x"})

    assert SECRET not in str(result)
    assert secrets_in_addresses({"a": ["see ftp://u:p%40w@h and http://h:80/@x"]}) == {"p%40w", "p@w"}


KEY = "-----BEGIN KEY-----\nTUlJRXZ3\n-----END KEY-----\n"


@pytest.mark.parametrize("answer", [echo, refuse])
def test_the_parts_of_a_secret_dictionary_that_was_given_as_text_are_masked(answer: Any) -> None:
    """Ansible knows the text only; what is printed is what was read from it."""
    account = {"uid": "robot-7", "private_key": KEY, "more": [{"pin": SECRET}, ""]}

    printed = json.dumps(act(answer, {"name": "a", "account": json.dumps(account)}))

    assert [part for part in ("robot-7", "TUlJRXZ3", SECRET) if part in printed] == []
    assert '"name": "a"' in printed


def test_the_parts_of_a_secret_dictionary_are_masked_by_line() -> None:
    spec = {"account": {"type": "dict", "no_log": True}, "name": {"type": "str"}}

    found = secrets_of(spec, {"account": {"key": "one\r\n two\n\n"}, "name": "a"})

    assert found == {"one\r\n two\n\n", "one", "two"}


def test_an_alias_and_a_deprecated_option_warn() -> None:
    result = act(echo, {"name": "a", "called": "a", "old": "x"})

    assert any("alias" in warning for warning in result["warnings"])
    assert any("old" in str(deprecation) for deprecation in result["deprecations"])


def test_a_wrong_option_is_refused_by_name_without_secrets() -> None:
    result = act(echo, {"name": "a", "nmae": SECRET, "password": SECRET})

    assert result["failed"]
    assert "Unsupported parameters for (zdd.rollout.an_operation) module: nmae" in result["msg"]
    assert SECRET not in str(result)


@pytest.mark.parametrize(
    "asked",
    [
        {"connection": {"transport": "ssh"}},
        {"connection": {"become": object()}},
        {"task": {"async_val": 30}},
        {"task": {"environment": [{"A": "b"}]}},
        {"variables": {"ansible_python_interpreter": "/some/other/python"}},
    ],
)
def test_the_module_runs_where_a_process_of_its_own_is_asked_for(asked: dict[str, Any]) -> None:
    assert act(echo, {"name": "a"}, **asked)["by"] == "module"


def test_the_module_is_told_which_run_it_belongs_to() -> None:
    """It cannot know: its own parent is not the run, and with become it is somebody else's."""
    args = act(echo, {"name": "a"}, connection={"become": object()})["module_args"]

    assert args["process"].startswith(f"{os.getppid()}/")
    assert "@" in args["owner"]
    given = {"name": "a", "process": "p", "owner": "me"}
    assert act(echo, given, connection={"become": object()})["module_args"] == given


@pytest.mark.parametrize(
    ("asked", "interpreter"),
    [
        ({}, sys.executable),
        ({"variables": {"ansible_python_interpreter": "auto"}}, sys.executable),
        ({"variables": {"ansible_python_interpreter": "/some/python"}}, "/some/python"),
        ({"task": {"async_val": 3, "delegate_to": "elsewhere"}}, None),
        ({"connection": {"transport": "ssh"}}, None),
    ],
)
def test_the_module_runs_on_the_python_of_ansible_unless_one_was_chosen(
    asked: dict[str, Any], interpreter: str | None
) -> None:
    """What discovery finds on the controller need not have the libraries."""
    result = act(echo, {"name": "a"}, **{"task": {"async_val": 3}, **asked})

    assert result["task_vars"].get("ansible_python_interpreter") == interpreter


LB_HOST = {"delegate_to": "lb1", "async_val": 3}
DELEGATED = {"ansible_delegated_vars": {"lb1": {}}, "zdd_rollout_step": {"run": 1, "name": "drained", "title": "t"}}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"failed": True, "msg": "lb /run/haproxy.sock: no answer"}, "lb1: lb /run/haproxy.sock: no answer"),
        (AnsibleConnectionFailure("refused"), "lb1: Ansible cannot reach this host: refused"),
    ],
    ids=["failed", "unreachable"],
)
def test_a_failure_on_another_host_is_one_of_the_task_and_names_it(answer: Any, told: str) -> None:
    """Where a host of the play is unreachable no rescue runs; here it is not the host of the play."""
    result = act(echo, {"name": "a"}, task=LB_HOST, variables=DELEGATED, module=answer)

    assert (result["failed"], result["msg"], "unreachable" in result) == (True, told, False)
    assert result["journal_entry"]["msg"] == told


def test_a_host_of_the_play_that_is_unreachable_is_so() -> None:
    with pytest.raises(AnsibleConnectionFailure):
        act(echo, {"name": "a"}, connection={"transport": "ssh"}, module=AnsibleConnectionFailure("refused"))


def test_the_journal_keeps_that_a_number_is_not_known() -> None:
    def cut(_params: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        return {"sessions": 3, "sessions_cut": None, "operations_cut": 2}

    step = {"run": 1, "name": "drained", "title": "t"}
    (entry,) = act(cut, {"name": "a"}, variables={"zdd_rollout_step": step})["ansible_facts"]["zdd_rollout_journal"]

    assert (entry["sessions"], entry["sessions_cut"], entry["operations_cut"]) == (3, None, 2)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"connection": {"transport": "ansible.builtin.local"}},
        {"task": {"environment": [{}]}},
        {"variables": {"ansible_python_interpreter": sys.executable}},
        {"variables": {"ansible_python_interpreter": PLAYBOOK_PYTHON}},
        {"variables": {"ansible_python_interpreter": "auto_silent"}},
    ],
)
def test_the_operation_runs_here_otherwise(asked: dict[str, Any]) -> None:
    assert "seen" in act(echo, {"name": "a"}, **asked)


def test_another_name_of_this_interpreter_is_no_other_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environments link to the Python that they were made with, and two of them are not the same."""
    for name in ("one", "other"):
        folder = tmp_path / name / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(sys.executable)
        (folder / "python3").symlink_to("python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "one" / "bin" / "python"))

    def by(interpreter: Path) -> str:
        result = act(echo, {"name": "a"}, variables={"ansible_python_interpreter": str(interpreter)})
        return result.get("by", "action plugin")

    assert by(tmp_path / "one" / "bin" / "python3") == "action plugin"
    assert by(tmp_path / "other" / "bin" / "python") == by(tmp_path / "other" / "bin" / "python3") == "module"


def test_the_operation_knows_how_it_is_run() -> None:
    contexts: list[Context] = []

    def keep(_params: Mapping[str, Any], context: Context) -> dict[str, Any]:
        contexts.append(context)
        context.warn("mind the gap")
        context.warn("mind the gap")
        return {"changed": True}

    result = act(keep, {"name": "a"}, task={"check_mode": True, "diff": True})

    assert (contexts[0].check_mode, contexts[0].diff_mode) == (True, True)
    assert result["warnings"] == ["mind the gap"]
    assert result["changed"] is True


class Tagged(str):
    """A subclass, as Ansible's own texts are."""


def test_values_are_of_the_types_that_json_has() -> None:
    given = {Tagged("a"): [Tagged("b"), (1, True, None), {2.5}], "b": b"c"}

    made = plain(given)

    assert made == {"a": ["b", [1, True, None], [2.5]], "b": "c"}
    assert {type(text) for text in (*made, *made["a"][:1])} == {str}


STEP = {"run": "100.5", "name": "healthy", "title": "all is well"}


def seeing(_params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    context.sample("sessions", lb=3)
    return {"changed": True, "sessions": 3}


def test_what_an_operation_has_seen_is_in_the_journal_of_its_step_only() -> None:
    old = {"run": "99.0", "name": "of another run"}
    variables = {"zdd_rollout_step": STEP, "ansible_facts": {"zdd_rollout_journal": [old]}}

    in_a_step, alone = act(seeing, {"name": "n"}, variables=variables), act(seeing, {"name": "n"})

    (entry,) = in_a_step["ansible_facts"]["zdd_rollout_journal"]
    assert (entry["operation"], entry["changed"], entry["sessions"]) == ("an_operation", True, 3)
    ((ago, kind, values),) = json.loads(entry["samples"])
    assert (kind, values) == ("sessions", {"lb": 3})
    assert ago >= 0
    assert "zdd_samples" not in in_a_step and "zdd_samples" not in alone
    assert "ansible_facts" not in alone


def test_a_failed_step_hands_its_entry_to_the_rescue() -> None:
    """Ansible keeps no facts of a failed task."""

    def fail(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
        seeing(params, context)
        return refuse(params, context)

    result = act(fail, {"name": "n", "password": SECRET}, variables={"zdd_rollout_step": STEP})

    assert "ansible_facts" not in result
    assert result["journal_entry"]["failed"] is True
    assert result["journal_entry"]["msg"] == result["msg"]
    assert '"sessions"' in result["journal_entry"]["samples"]
    assert SECRET not in json.dumps(result)


def test_what_was_seen_is_masked_like_a_result() -> None:
    def leak(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
        context.sample("evidence", text=f"the password is {params['password']}")
        return {"changed": False}

    result = act(leak, {"name": "n", "password": SECRET}, variables={"zdd_rollout_step": STEP})

    assert "the password is " in result["ansible_facts"]["zdd_rollout_journal"][0]["samples"]
    assert SECRET not in json.dumps(result)
