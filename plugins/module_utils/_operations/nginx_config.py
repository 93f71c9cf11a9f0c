# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a text the active configuration of one group at one nginx; put the old one back when nginx does not take it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import DeadlinePassed, NotFound, OperationError, Rejected, Unreachable
from .._files import program, text_of, write
from .._invocation.context import Context
from .._invocation.outcome import outcome
from .._nginx import configuration, processes, shares
from .._nginx.configuration import Configuration
from .._nginx.proxy import NGINX_SPEC, Proxy
from .._wait import Pauses, wait_until

ARGUMENT_SPEC: dict[str, Any] = {
    **NGINX_SPEC,
    "content": {"type": "str", "required": True},
    "nginx": {"type": "str", "default": "nginx"},
    "main_config": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "pid_file": {"type": "path", "default": "/run/nginx.pid"},
    "close_seconds": {"type": "float", "default": 1},
    "wait_timeout": {"type": "float", "default": 30},
}

_PAUSES = Pauses(0.02, 1.3, 0.2)
_TEST_TIMEOUT = 60
_ERROR = re.compile(r"\[(emerg|alert|crit)\] (?:\d+#\d+: )?(.+)")


def run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Write, test, reload and see it; see the module's documentation."""
    proxy = Proxy.from_params(params)
    text = configuration.finished(params["content"], "Option content")
    wanted = proxy.checked(configuration.parsed(text, "Option content"))
    before = text_of(proxy.config, proxy.system)
    is_active = _active(proxy) == wanted.hash
    result = outcome(context, "addresses", _addresses_in(before), _plain(wanted))
    result["changed"] = result["reloaded"] = before != text or not is_active
    if context.diff_mode:
        result["diff"] = {"before": before or "", "after": text, "before_header": proxy.config}
        result["diff"]["after_header"] = proxy.config
    if context.check_mode:
        return {**result, "proxy": _foreseen(proxy, wanted)}
    shares.prepare(proxy.state_dir, proxy.system)
    shares.close_connections(proxy.state_dir, False, proxy.system)  # one that was killed may have left it so
    if result["changed"]:
        activation = _Activation(proxy, params, context, before)
        activation.write(text)
        activation.test()
        activation.say_goodbye()
        try:
            activation.reload(wanted.hash)
        finally:
            shares.close_connections(proxy.state_dir, False, proxy.system)
    view = proxy.view()
    context.sample("old_workers", **{proxy.name: view["old_workers"]})
    return {**result, "proxy": view}


@dataclass(frozen=True)
class _Activation:
    """The steps, and the way back. ``before``: the text of the file, ``None`` when there was none."""

    proxy: Proxy
    params: Mapping[str, Any]
    context: Context
    before: str | None

    def write(self, text: str) -> None:
        """Put the new file in place, when there is an nginx that could load it."""
        self._master()
        if text != self.before:
            write(self.proxy.config, text, self.proxy.system)

    def test(self) -> None:
        """Let nginx test all of its configuration.

        :raises Rejected: it does not take it; the old file is back, nothing was reloaded.
        """
        command = [program(self.params["nginx"]), "-t", "-q", "-c", self.params["main_config"]]
        try:
            # The operation also runs inside the controller, where there is no module whose run_command could be called.
            tested = subprocess.run(  # pylint: disable=ansible-bad-function
                command, capture_output=True, text=True, errors="replace", timeout=_TEST_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._put_back()
            raise NotFound(
                "not_found", f"{self.proxy.system}: {command[0]} cannot be run: {error}", system=self.proxy.system
            ) from None
        if tested.returncode:
            self._put_back()
            raise Rejected(
                "invalid_configuration",
                f"{self.proxy.system} refuses the configuration: {_complaint(tested.stderr)}. {self.proxy.config} is "
                "as it was before, and nothing was reloaded.",
                system=self.proxy.system,
                request=" ".join(command),
                detail=tested.stderr.strip().splitlines()[-10:],
            )

    def say_goodbye(self) -> None:
        """Let each answer close its connection for a while, so that the reload finds few idle ones to close.

        A client whose connection is closed without a word, while it sends a request, loses that request.
        """
        if self.params["close_seconds"] > 0 and _active(self.proxy) is not None:
            shares.close_connections(self.proxy.state_dir, True, self.proxy.system)
            self.context.sleep(self.params["close_seconds"])

    def reload(self, wanted: str) -> None:
        """Let nginx load it and wait for the new workers.

        :raises DeadlinePassed: they did not come; the old file is back, and loaded again.
        """
        try:
            self._load(wanted)
        except DeadlinePassed as error:
            self._put_back()
            raise DeadlinePassed(
                "reload_failed",
                f"{error.message}. {self._loaded_again()} nginx says why in its error log (a port that is taken, say).",
                system=self.proxy.system,
                request="SIGHUP",
            ) from None

    def _load(self, wanted: str | None) -> None:
        """``wanted``: the hash that the status server has to answer, ``None`` when only new workers are waited for."""
        master = self._master()
        old = {pid for pid, is_old in processes.workers(master).items() if not is_old}
        os.kill(master, signal.SIGHUP)
        self.context.changes.append(f"{self.proxy.name}: reload")
        wait_until(
            self.context,
            lambda: self._unloaded(old, wanted),
            lambda missing: missing,
            timeout=self.params["wait_timeout"],
            pauses=_PAUSES,
            look_at_once=False,
        )

    def _unloaded(self, old: set[int], wanted: str | None) -> str | None:
        """What is missing until only workers of the new generation take requests; ``None`` when nothing is."""
        now = processes.workers(self._master())
        busy = [pid for pid in sorted(old) if pid in now and not now[pid]]
        if busy:
            return (
                f"{self.proxy.system} has not loaded its configuration: worker {busy[0]} is still the one from before"
            )
        if all(now.values()):
            return f"{self.proxy.system} has no worker"
        if wanted is not None and _active(self.proxy) != wanted:
            return f"{self.proxy.system}: the status server at {self.proxy.status_address} does not show the new file"
        return None

    def _loaded_again(self) -> str:
        """Load what was there before, and say how that went."""
        before = None
        if self.before is not None:
            try:
                before = configuration.parsed(self.before, self.proxy.config).hash
            except OperationError:  # it was somebody else's: nothing tells whether it is active
                before = None
        try:
            self._load(before)
        except (DeadlinePassed, Unreachable) as error:
            return f"{self.proxy.config} is as it was before, but not loaded again: {error.message}."
        return f"{self.proxy.config} is as it was before, and loaded again."

    def _put_back(self) -> None:
        write(self.proxy.config, self.before, self.proxy.system)

    def _master(self) -> int:
        return processes.master(self.params["pid_file"], self.proxy.system)


def _active(proxy: Proxy) -> str | None:
    """The hash of the file that answers; ``None`` when nobody does, as before the first activation."""
    try:
        return proxy.status().config
    except Unreachable:
        return None


def _addresses_in(text: str | None) -> dict[str, list[str]] | None:
    if text is None:
        return None
    try:
        return _plain(configuration.parsed(text, ""))
    except OperationError:  # what is replaced need not be ours
        return None


def _plain(parsed: Configuration) -> dict[str, list[str]]:
    return {colour: list(addresses) for colour, addresses in parsed.addresses.items()}


def _foreseen(proxy: Proxy, wanted: Configuration) -> dict[str, Any]:
    """The view as it would be; before the first activation there is nothing to look at."""
    try:
        view = proxy.view()
    except (NotFound, Unreachable):
        view = {"name": proxy.name, "kind": "nginx", "group": proxy.group, "share": proxy.files().share}
        view |= {"old_workers": 0, "connections": {}}
    addresses = _plain(wanted)
    counts = {address: view["connections"].get(address, 0) for both in addresses.values() for address in both}
    return {**view, "addresses": addresses, "connections": counts, "is_active": True}


def _complaint(text: str) -> str:
    """nginx's own words about the first error, without the time and the process that may stand before them."""
    found = _ERROR.search(text)
    return f"[{found[1]}] {found[2]}" if found else " ".join(text.split())[:200] or "it gives no reason"
