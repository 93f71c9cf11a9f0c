# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx for tests, with the configuration that the role swarm_proxy renders; tasks of two colours behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ansible_collections.zdd.rollout.plugins.module_utils._nginx import processes
from ansible_collections.zdd.rollout.plugins.module_utils._operations import nginx_config
from tests.integration_py.haproxy_instance import eventually, free_port
from tests.integration_py.operating import operate

ROOT = Path(__file__).resolve().parent.parent.parent
ROLE = ROOT / "roles" / "swarm_proxy"
SERVICE = ROOT / "tests" / "sandbox" / "service.py"

MAIN = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {extra}
  include {folder}/conf.d/*.conf;
}}
"""


def rendered(settings: Mapping[str, Any]) -> str:
    """The text of the role's template. ``settings``: as ``__swarm_proxy_settings`` in the role's vars."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(to_json=json.dumps, bool=bool)
    return environment.get_template("nginx.conf.j2").render(__swarm_proxy_settings=settings)


def defaults() -> dict[str, Any]:
    """The role's defaults under the names that its template knows."""
    found = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    return {name.removeprefix("swarm_proxy_"): value for name, value in found.items()}


@dataclass
class Nginx:
    """An nginx with one group, all of whose files lie in ``folder``."""

    folder: Path
    group: str = "shop"
    host: str = "127.0.0.1"
    extra: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        (self.folder / "conf.d").mkdir(parents=True, exist_ok=True)
        self.live_port, self.preview_port, self.status_port = (free_port(self.host) for _port in range(3))
        self.config = self.folder / "conf.d" / "zdd-shop.conf"
        self.state_dir = self.folder / "state"
        self.main_config = self.folder / "nginx.conf"
        self.pid_file = self.folder / "nginx.pid"

    def at(self) -> dict[str, Any]:
        """The options of all operations."""
        return {
            "name": self.group,
            "proxy_name": "lb1",
            "config": str(self.config),
            "state_dir": str(self.state_dir),
            "status": f"{self.host}:{self.status_port}",
        }

    def content(self, blue: Sequence[str] = (), green: Sequence[str] = (), **settings: Any) -> str:
        return rendered(
            {
                **defaults(),
                "name": self.group,
                "state_dir": str(self.state_dir),
                "live_port": f"{self.host}:{self.live_port}",
                "preview_port": f"{self.host}:{self.preview_port}",
                "status": f"{self.host}:{self.status_port}",
                "addresses": {"blue": list(blue), "green": list(green)},
                **self.settings,
                **settings,
            }
        )

    def configure(self, content: str, **options: Any) -> dict[str, Any]:
        """Run nginx_config."""
        return operate(
            nginx_config,
            **self.at(),
            content=content,
            main_config=str(self.main_config),
            pid_file=str(self.pid_file),
            **options,
        )

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.live_port}"

    @property
    def preview_url(self) -> str:
        return f"http://{self.host}:{self.preview_port}"

    @property
    def master(self) -> int:
        return processes.master(str(self.pid_file), "nginx")

    def workers(self) -> dict[int, bool]:
        return processes.workers(self.master)

    def start(self) -> None:
        self.main_config.write_text(MAIN.format(folder=self.folder, extra=self.extra))
        # Root's workers are another user's, to whom the folder above may be closed, as that of the CI is.
        settings = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
        command = ["nginx", "-c", str(self.main_config), "-e", str(self.folder / "error.log"), "-g", settings]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: self.pid_file.exists() and self.pid_file.read_text().strip() and len(self.workers()) == 2)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in self.workers():
                    os.kill(pid, signal.SIGKILL)
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Nginx:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


@dataclass
class Tasks:
    """Processes of the sandbox's service, one version of it."""

    version: str
    count: int = 2
    host: str = "127.0.0.1"
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)
    addresses: list[str] = field(default_factory=list)

    def __enter__(self) -> Tasks:
        for _task in range(self.count):
            port = free_port(self.host)
            environment = {"PORT0": str(port), "HOST": self.host, "VERSION": self.version, **self.environment}
            self.processes.append(subprocess.Popen([sys.executable, "-S", "-E", str(SERVICE)], env=environment))
            self.addresses.append(f"{self.host}:{port}")
        for address in self.addresses:
            eventually(lambda address=address: answers(f"http://{address}/health"))
        return self

    def kill(self) -> None:
        """End them as hard as it can be."""
        for process in self.processes:
            process.kill()
            process.wait()

    def __exit__(self, *_exception: object) -> None:
        self.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def version_at(url: str) -> str:
    """Which version answers, or the status when it is none."""
    try:
        with urllib.request.urlopen(f"{url}/", timeout=10) as answer:
            return answer.headers["X-Version"]
    except urllib.error.HTTPError as error:
        return str(error.code)
