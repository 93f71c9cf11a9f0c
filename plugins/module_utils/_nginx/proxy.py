# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One nginx as an operation sees it: the options that say where it is, and its view."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import InvalidInput
from . import connections, processes, shares
from .configuration import Configuration, read
from .status import Status, StatusServer, checked_group

NGINX_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "proxy_name": {"type": "str"},
    "config": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "status": {"type": "str", "default": "127.0.0.1:8099"},
    "timeout": {"type": "float", "default": 5},
}


@dataclass(frozen=True)
class Proxy:
    """Where one nginx has its files for one group. ``timeout``: seconds for one question to its status server."""

    group: str
    name: str
    config: str
    state_dir: str
    status_address: str
    timeout: float

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Proxy:
        """Read the options of ``NGINX_SPEC``.

        :raises InvalidInput: a path is not absolute.
        """
        for option in ("config", "state_dir"):
            if not os.path.isabs(params[option]):
                raise InvalidInput("invalid_option", f"Option {option}: {params[option]} is no absolute path.")
        return cls(
            params["name"],
            params["proxy_name"] or socket.gethostname(),
            params["config"],
            os.path.normpath(params["state_dir"]),
            params["status"],
            params["timeout"],
        )

    @property
    def system(self) -> str:
        """How messages call it."""
        return f"nginx {self.name}"

    @property
    def server(self) -> StatusServer:
        """Its status server."""
        return StatusServer(self.status_address, self.system, self.timeout)

    def status(self) -> Status:
        """What a worker says.

        :raises Unreachable: nobody answers. :raises InvalidInput: that is another group's.
        """
        return checked_group(self.server.status(), self.group, self.status_address, self.system)

    def configuration(self) -> Configuration:
        """The file.

        :raises NotFound: there is none. :raises InvalidInput: it is not this group's.
        """
        return self.checked(read(self.config, self.system))

    def checked(self, configuration: Configuration) -> Configuration:
        """The configuration, when it is this group's.

        :raises InvalidInput: it is not, or nginx would look for the files of the shares elsewhere.
        """
        if configuration.group != self.group:
            raise InvalidInput(
                "other_group", f"{self.system}: {self.config} is for group {configuration.group}, not for {self.group}."
            )
        told = configuration.state_dir
        if told is not None and os.path.normpath(told) != self.state_dir:
            raise InvalidInput(
                "other_state_dir",
                f"{self.system}: {self.config} looks for its files in {told}, not in {self.state_dir} (state_dir).",
            )
        return configuration

    def files(self) -> shares.Files:
        """The files of the shares."""
        return shares.observed(self.state_dir, self.system)

    def view(self) -> dict[str, Any]:
        """What this nginx does for the group, as the planner wants it. Percent and counts are whole numbers.

        :raises Unreachable: its status server does not answer. :raises NotFound: there is no configuration.
        """
        configuration = self.configuration()
        status = self.status()
        master = processes.master_of(status.pid)
        everywhere = [address for addresses in configuration.addresses.values() for address in addresses]
        return {
            "name": self.name,
            "kind": "nginx",
            "group": self.group,
            "share": self.files().share,
            "addresses": {colour: list(addresses) for colour, addresses in configuration.addresses.items()},
            "old_workers": 0 if master is None else processes.old_workers(master),
            "connections": connections.count(everywhere),
            "is_active": status.config == configuration.hash,
        }
