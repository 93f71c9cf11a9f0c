# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Docker Swarm on one machine, with proxies in front of it: engines in network namespaces of their own.

Needs root, Linux, and the packages that ``tests/setup/packages.sh PYTHON swarm`` installs; ``why_not`` says what is
missing. ``launch.start`` runs it from Python, ``python -m tests.sandbox.swarm up`` from a shell.
"""

from __future__ import annotations

import os
import shutil
import subprocess

# Where Debian has what only root runs; a user's PATH may not name it.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
PROGRAMS = {
    "dockerd": "docker.io",
    "containerd": "docker.io",
    "iptables": "iptables",
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
# What an engine does first, tried where nothing of it stays: namespaces, a bridge, address translation.
TRIALS = (
    ("unshare", "--net", "--mount", "--uts", "true"),
    ("unshare", "--net", "ip", "link", "add", "trial", "type", "bridge"),
    ("unshare", "--net", "iptables", "-t", "nat", "-S"),
)
TRIAL_LIMIT = 20.0  # seconds


def program(name: str) -> str:
    """The path of a program. Raises ``FileNotFoundError``."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: install the package {PROGRAMS[name]}.")
    return found


def why_not() -> str | None:
    """Why no Docker engine can run here; ``None`` when one can, as far as can be seen without starting it."""
    if os.geteuid() != 0:
        return "A Docker engine needs root."
    missing = sorted({package for name, package in PROGRAMS.items() if shutil.which(name, path=PATH) is None})
    if missing:
        return f"Packages are missing: {' '.join(missing)}."
    if not any(os.access(folder, os.W_OK) for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")):
        return "A Docker engine needs to write below /sys/fs/cgroup."
    if os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY:
        return "/sys/fs/cgroup is read-only."
    for command in TRIALS:
        tried = subprocess.run(
            command,
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            timeout=TRIAL_LIMIT,
            check=False,
        )
        if tried.returncode != 0:
            return f"'{' '.join(command)}' fails: {tried.stderr.strip()}"
    return None
