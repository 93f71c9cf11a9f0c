# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an operation inside the controller's process.

A module costs 240 to 325 ms on the controller and is silent until it ends; the same operation in an action plugin costs
some 15 ms and shows what it waits for. What ``AnsibleModule`` does unasked is done here too: ``no_log`` values are
masked in results and in errors, alias and deprecation warnings are passed on, ``invocation`` is there, all types are
plain.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._errors import Unreachable
from ..module_utils._invocation.context import Context
from ..module_utils._invocation.execution import SAMPLES, execute
from ..module_utils._invocation.secrets import secrets_of
from ..module_utils._rollout.lock import owner_name, process_name
from .webhook import post, shown

_display = Display()


class OperationAction(ActionBase):
    """The action plugin of the operation in ``operation``."""

    operation: ClassVar[ModuleType]

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the operation here, or the module of the same name where the task asks for a process of its own."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        result = self._run_as_process(task_vars) if self._wants_a_process(task_vars) else self._run_here(task_vars)
        return self._in_journal(result, task_vars)

    def _run_as_process(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module. Of another host (``delegate_to``) a failure names it.

        Ansible would take the host of the play for unreachable where the other one is: no rescue would run, so no
        rollback either, and the lock would stay.
        """
        other = self._task.delegate_to
        if other not in (task_vars.get("ansible_delegated_vars") or {}):  # core 2.18 keeps the text of an omitted one
            other = None
        try:
            result = self._execute_module(
                module_args=self._process_args(),
                task_vars=self._process_vars(task_vars),
                wrap_async=bool(self._task.async_val),
            )
        except AnsibleConnectionFailure as error:
            if other is None:
                raise
            refused = Unreachable("unreachable", f"Ansible cannot reach this host: {error}", system=str(other))
            result = {"failed": True, "changed": False, "msg": refused.message, "failure": refused.failure()}
        if result.get("failed") and other is not None and other not in C.LOCALHOST:
            result["msg"] = f"{other}: {result.get('msg')}"
        return result

    def _in_journal(self, result: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Add an entry to the fact ``zdd_rollout_journal`` where the variable ``zdd_rollout_step`` names a step.

        The variable is a dictionary with the keys ``run``, ``name`` and ``title``; entries of another run are dropped.
        Ansible keeps no facts of a failed task: its entry is ``journal_entry`` of the result, for a ``rescue``.

        The report of a rollout is made from it. A task of its own for that would double the cost of each step.
        """
        samples = result.pop(SAMPLES, [])
        if "zdd_rollout_step" not in task_vars:
            return self._told(result, task_vars)
        step = plain(self._templar.template(task_vars["zdd_rollout_step"]))
        entry = {
            **step,
            "operation": self.operation.__name__.rpartition(".")[2],
            "ended": time.time(),
            "changed": bool(result.get("changed")),
            # None is a number that nobody knows.
            **{count: result.get(count, 0) for count in ("sessions", "sessions_cut", "operations_cut")},
            # As one text: Ansible walks through all facts for each task.
            "samples": json.dumps(samples, separators=(",", ":")),
        }
        if result.get("failed"):
            return {**result, "journal_entry": {**entry, "failed": True, "msg": result.get("msg")}}
        before = (task_vars.get("ansible_facts") or {}).get("zdd_rollout_journal") or []
        journal = [*(old for old in plain(before) if old["run"] == step["run"]), entry]
        unheard = any(old.get("unheard") for old in journal)
        result = self._told(result, task_vars, entry, samples, unheard=unheard)
        return {**result, "ansible_facts": {"zdd_rollout_journal": journal}}

    def _told(
        self,
        result: dict[str, Any],
        task_vars: Mapping[str, Any],
        entry: dict[str, Any] | None = None,
        samples: Sequence[Any] = (),
        *,
        unheard: bool = False,
    ) -> dict[str, Any]:
        """Tell the webhook of the variable ``zdd_rollout_webhook`` what was done, where there is one.

        The variable is a dictionary with the keys ``url``, ``headers``, ``events`` (none: all), ``timeout`` and
        ``about``. The event is ``step``, or the variable ``zdd_rollout_event``. A webhook that does not listen once is
        not told of further steps (``unheard`` in the journal), so that it cannot hold up the rollout. Nor is it told of
        a failure before the traffic is back.
        """
        if "zdd_rollout_webhook" not in task_vars or result.get("failed") or self._task.check_mode:
            return result
        webhook = plain(self._templar.template(task_vars["zdd_rollout_webhook"]))
        event = plain(self._templar.template(task_vars.get("zdd_rollout_event", "step"))).replace(" ", "_")
        if not webhook.get("url") or unheard or (webhook.get("events") and event not in webhook["events"]):
            return result
        about = {"cluster": str(task_vars.get("inventory_hostname", "")), **webhook.get("about", {})}
        message = _message(event, about, result, entry, samples)
        why = post(webhook["url"], webhook.get("headers") or {}, message, webhook["timeout"])
        if why is None:
            return result
        if entry is not None:
            entry["unheard"] = True
        text = f"The webhook {shown(webhook['url'])} was not told of the event {event}: {why}. The rollout goes on."
        return {**result, "warnings": [*result.get("warnings", []), text]}

    def _wants_a_process(self, task_vars: Mapping[str, Any]) -> bool:
        return (
            self._connection.transport.rpartition(".")[2] != "local"
            or self._connection.become is not None
            or bool(self._task.async_val)
            or any(self._task.environment or ())
            or not _is_this_interpreter(
                self._templar.template(self._host_vars(task_vars).get("ansible_python_interpreter"))
            )
        )

    def _host_vars(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables of the host that the task runs on: of another one, where it is delegated."""
        delegated = task_vars.get("ansible_delegated_vars") or {}
        return delegated.get(self._task.delegate_to, task_vars)

    def _process_args(self) -> dict[str, Any]:
        """The arguments for the module, with what only the controller knows: which run this is, and whose."""
        args = dict(self._task.args)
        known = {"process": lambda: process_name(os.getppid()), "owner": owner_name}
        for option, tell in known.items():
            if option in self.operation.ARGUMENT_SPEC and args.get(option) is None:
                args[option] = tell()
        return args

    def _process_vars(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The variables for the module: on the controller it needs the libraries of the Python that runs Ansible.

        Which one discovery would find there depends on the machine. An interpreter that somebody chose is kept.
        """
        is_local = self._connection.transport.rpartition(".")[2] == "local" and self._task.delegate_to is None
        chosen = self._templar.template(
            C.config.get_config_value("INTERPRETER_PYTHON", variables=_interpreter(task_vars))
        )
        if not is_local or not _is_discovered(chosen):
            return task_vars
        return {**task_vars, "ansible_python_interpreter": sys.executable}

    def _run_here(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        rules = getattr(self.operation, "ARGUMENT_RULES", {})
        validation = ArgumentSpecValidator(self.operation.ARGUMENT_SPEC, **rules).validate(plain(self._task.args))
        params = validation.validated_parameters
        context = Context(
            check_mode=bool(self._task.check_mode),
            diff_mode=bool(self._task.diff),
            progress=_Progress(str(task_vars.get("inventory_hostname", "")), self._secrets(validation)),
            controller_pid=os.getppid(),
        )
        if validation.error_messages:
            result: dict[str, Any] = {"failed": True, "msg": self._refusal(validation)}
        else:
            result = execute(self.operation, params, context)
        return self._masked(result, params, validation, context)

    def _refusal(self, validation: ValidationResult) -> str:
        # AnsibleModule words an unknown option this way; both ways of running have to say the same.
        text = validation.errors.msg
        if validation.unsupported_parameters:
            return f"Unsupported parameters for ({self._task.resolved_action or self._task.action}) module: {text}"
        return text

    def _secrets(self, validation: ValidationResult) -> set[str]:
        return set(validation._no_log_values) | secrets_of(
            self.operation.ARGUMENT_SPEC, validation.validated_parameters
        )

    def _masked(
        self, result: dict[str, Any], params: Mapping[str, Any], validation: ValidationResult, context: Context
    ) -> dict[str, Any]:
        result = {"changed": False, "invocation": {"module_args": dict(params)}, **result}
        warnings = [
            *(
                f"Both option {given['option']} and its alias {given['alias']} are set."
                for given in validation._warnings
            ),
            *context.warnings,
        ]
        if warnings:
            result["warnings"] = warnings
        if validation._deprecations:
            result["deprecations"] = list(validation._deprecations)
        kept = {key: value for key, value in result.items() if value is None or isinstance(value, bool)}
        return {**remove_values(result, self._secrets(validation)), **kept}


def _message(
    event: str,
    about: Mapping[str, Any],
    result: Mapping[str, Any],
    entry: Mapping[str, Any] | None,
    samples: Sequence[Any],
) -> dict[str, Any]:
    """What a webhook is told; ``text`` is for people."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = {**about, "event": event, "at": at, "owner": owner_name()}
    text = event.replace("_", " ")
    if entry is not None:
        text = f"{entry.get('name')}: {entry.get('title')}"
        message |= {key: entry.get(key) for key in ("run", "name", "title", "operation", "changed")}
        message["evidence"] = [values.get("text") for _ago, kind, values in samples if kind == "evidence"]
        message["decisions"] = [values for _ago, kind, values in samples if kind == "decision"]
    if "report" in result:
        message["report"] = _without_series(result["report"])
        text = "\n".join(result["lines"])
    whose = " ".join(str(about[key]) for key in ("cluster", "group") if about.get(key))
    return {**message, "text": f"{whose}: {text}"}


def _without_series(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report, merged or not, without its many points."""
    short = {key: value for key, value in report.items() if key != "series"}
    if "reports" in short:
        short["reports"] = [_without_series(part) for part in short["reports"]]
    return short


class _Progress:
    """Shows a line at once, also from a worker process, masked as the result will be."""

    def __init__(self, host: str, secrets: set[str]) -> None:
        self._host = host
        self._secrets = secrets

    def __call__(self, text: str) -> None:
        _display.display(f"    [{self._host}] {remove_values(text, self._secrets)}", color="dark gray", stderr=True)


def _interpreter(task_vars: Mapping[str, Any]) -> dict[str, Any]:
    name = "ansible_python_interpreter"
    return {name: task_vars[name]} if name in task_vars else {}


def _is_discovered(wanted: Any) -> bool:
    return wanted is None or str(wanted).startswith("auto")


def _is_this_interpreter(wanted: Any) -> bool:
    if _is_discovered(wanted):
        return True
    asked, here = Path(str(wanted)).absolute(), Path(sys.executable).absolute()
    # python and python3 of one folder are the same. The file alone says nothing: environments share their base's.
    return asked.parent.resolve() == here.parent.resolve() and asked.resolve() == here.resolve()


def plain(value: Any) -> Any:
    """Return ``value`` in the types that JSON has, as a module would get it: no subclasses of Ansible's."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else str.__str__(str(value))
