# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxies in front of a swarm: an nginx or an HAProxy in a network namespace of its own, without addresses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.sandbox.swarm import PATH, program
from tests.sandbox.swarm.network import NAMESPACES, Network

NAME = "web"  # of the group of services that the proxies serve
LIVE, PREVIEW, STATUS = 80, 8080, 8081  # ports
SLOTS = 24  # of each of HAProxy's backends: 10 tasks of each colour, and some
START_LIMIT, LOOK = 30.0, 0.02  # seconds

# The workers are root's, since an ordinary user cannot look for the files that turn the traffic: the folder of the
# sandbox may lie below one that is closed to others.
NGINX = """\
user root;
daemon off;
worker_processes 2;
pid {pid_file};
error_log {folder}/error.log notice;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""

# Slots have a name that nobody resolves, so that they keep their address over a reload (docs/haproxy.md).
HAPROXY = """\
global
  no strict-limits
  maxconn 8000
  stats socket "{folder}/socket" mode 600 level admin expose-fd listeners
  server-state-base "{folder}/"
  server-state-file state

defaults
  mode http
  load-server-state-from-file global
  retries 3
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  timeout http-keep-alive 1s
  timeout http-request 15s
  timeout queue 30s
  option dontlognull
  option idle-close-on-response
  option redispatch

frontend live
  bind :{live}
  default_backend {name}

frontend preview
  bind :{preview}
  default_backend {name}-preview
"""
BACKEND = """
backend {name}
  balance roundrobin
  option httpchk GET /health
  default-server weight 100 check inter 500ms rise 2 fall 3
  dynamic-cookie-key sandbox
  cookie SERVER insert indirect nocache dynamic
  server-template slot 1-{slots} unused.invalid:80 init-addr last,0.0.0.0 disabled
"""


def written(path: Path) -> bool:
    """Whether a file is there and has something in it."""
    return path.is_file() and path.stat().st_size > 0


class Proxy:
    """One proxy, ``kind`` nginx or haproxy, in the namespace of the host ``name``, with its files in ``folder``."""

    def __init__(self, network: Network, name: str, number: int, kind: str, folder: Path) -> None:
        self.network = network
        self.name = name
        self.address = network.address(number)
        self.kind = kind
        self.folder = folder
        self.state_dir = folder / "state"
        self.python = folder / "python"
        self.pid_file = folder / "pid"
        nginx = kind == "nginx"
        self.main_config = folder / ("nginx.conf" if nginx else "haproxy.cfg")
        self.config = folder / "conf.d" / f"zdd-{NAME}.conf" if nginx else self.main_config
        self.socket = None if nginx else folder / "socket"
        self.master_socket = None if nginx else folder / "master"
        self.process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Write the files: the configuration, and a Python that runs in the proxy's network."""
        (self.folder / "conf.d").mkdir(parents=True)
        self.state_dir.mkdir()
        self.main_config.write_text(self._configuration())
        enter = shlex.join(self.network.enter(self.name))
        self.python.write_text(f'#!/bin/sh\nexec {enter} {shlex.quote(sys.executable)} "$@"\n')
        self.python.chmod(0o755)

    def _configuration(self) -> str:
        if self.kind == "nginx":
            return NGINX.format(folder=self.folder, pid_file=self.pid_file)
        backends = [BACKEND.format(name=name, slots=SLOTS) for name in (NAME, f"{NAME}-preview")]
        return HAPROXY.format(folder=self.folder, name=NAME, live=LIVE, preview=PREVIEW) + "".join(backends)

    def start(self) -> None:
        """Start it; return when it runs. Raises ``RuntimeError`` with what it said."""
        if self.kind == "nginx":
            words = [program("nginx"), "-c", str(self.main_config), "-p", str(self.folder), "-e", "stderr"]
        else:
            words = [program("haproxy"), "-W", "-S", str(self.master_socket), "-p", str(self.pid_file)]
            words += ["-f", str(self.main_config)]
        for left in (self.pid_file, self.socket):  # by one that was killed
            if left is not None:
                left.unlink(missing_ok=True)
        output = self.folder / "output.log"
        with output.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.network.enter(self.name), *words],
                env={**os.environ, "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._runs():
            if not self.alive or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.kind} in {self.network.namespace(self.name)} does not run: {output.read_text()}"
                )
            time.sleep(LOOK)

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self.process is not None and self.process.poll() is None

    def _runs(self) -> bool:
        """Whether its last file is written: signals to it are safe then."""
        return written(self.pid_file) and (self.socket is None or self.socket.is_socket())

    def description(self) -> dict[str, Any]:
        """What the line of JSON says about it."""
        return {
            "name": self.name,
            "address": self.address,
            "netns": str(NAMESPACES / self.network.namespace(self.name)),
            "kind": self.kind,
            "config": str(self.config),
            "state_dir": str(self.state_dir),
            "status": f"127.0.0.1:{STATUS}",
            "main_config": str(self.main_config),
            "pid_file": str(self.pid_file),
            "live": f"http://{self.address}:{LIVE}",
            "preview": f"http://{self.address}:{PREVIEW}",
            "socket": self.socket and str(self.socket),
            "master_socket": self.master_socket and str(self.master_socket),
            "python": str(self.python),
        }
