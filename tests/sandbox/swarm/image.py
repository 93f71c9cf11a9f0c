# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of the test service, made here since no registry is reachable, and the service that runs it.

The image has busybox, ``service.py`` and empty folders. Python comes from this machine, by read-only mounts.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.sandbox.swarm import program
from tests.sandbox.swarm.network import run

REPOSITORY = "service"
TAGS = ("1", "2", "3")  # the same image under several names: what it is comes from VERSION
IMAGE = f"{REPOSITORY}:{TAGS[0]}"
PORT = 8000  # in the container
SERVICE = Path(__file__).resolve().parent.parent / "service.py"
INSIDE = "/srv/service.py"
LIBRARIES = (Path("/lib"), Path("/lib32"), Path("/lib64"))  # the dynamic linker's; often links into /usr
FOLDERS = ("bin", "dev", "etc", "proc", "run", "srv", "sys", "tmp", "usr")

PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
PREFIX = Path(sys.base_prefix).resolve()


def mounted() -> list[Path]:
    """The folders of this machine that its Python needs."""
    wanted = [Path("/usr"), *(path for path in LIBRARIES if path.is_dir() and not path.is_symlink())]
    for path in (PREFIX, PYTHON.parent):
        if not any(path.is_relative_to(each) for each in wanted):
            wanted.append(path)
    return wanted


def changes() -> list[str]:
    """What ``docker import`` is told about the image, as lines of a Dockerfile."""
    lines = ["ENV PATH=/bin:/usr/bin"]
    if not PREFIX.is_relative_to("/usr"):  # one that is built with a shared library finds it here
        lines.append(f"ENV LD_LIBRARY_PATH={PREFIX / 'lib'}")
    return lines


def root_file_system() -> bytes:
    """The image's files, as a tar."""
    busybox = Path(program("busybox"))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        folders = {*FOLDERS, *(str(parent).strip("/") for path in mounted() for parent in (path, *path.parents))}
        for name in sorted(folders - {""}):
            _add(tar, name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        for path in LIBRARIES:
            if path.is_symlink():
                _add(tar, path.name, tarfile.SYMTYPE, link=str(path.readlink()))
        _add(tar, "bin/busybox", content=busybox.read_bytes(), mode=0o755)
        for applet in run([str(busybox), "--list"]).split():
            if applet != "busybox":
                _add(tar, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        _add(tar, INSIDE.strip("/"), content=SERVICE.read_bytes())
        _add(tar, "etc/passwd", content=b"root:x:0:0:root:/:/bin/sh\n")
    return content.getvalue()


def _add(
    tar: tarfile.TarFile,
    name: str,
    kind: bytes = tarfile.REGTYPE,
    *,
    content: bytes = b"",
    link: str = "",
    mode: int = 0o644,
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname, member.mode = kind, len(content), link, mode
    tar.addfile(member, io.BytesIO(content))


def service() -> dict[str, Any]:
    """The definition of a service, as ``community.docker.docker_swarm_service`` takes it (without name, replicas).

    ``env`` has the variables of ``tests/sandbox/service.py``. A task is healthy, and so running, about a second after
    its start: the first check comes one interval after it. ``start_period`` bounds START_DELAY and HEALTHY_AFTER.
    """
    return {
        "image": IMAGE,
        "resolve_image": False,
        "command": [str(PYTHON), "-S", "-E", INSIDE],
        "env": {"VERSION": "1", "HOST": "0.0.0.0", "PORT0": str(PORT)},
        "healthcheck": {
            "test": ["CMD", "/bin/busybox", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{PORT}/health"],
            "interval": "2s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "30s",
        },
        "mounts": [{"source": str(path), "target": str(path), "type": "bind", "readonly": True} for path in mounted()],
        "publish": [{"mode": "host", "protocol": "tcp", "target_port": PORT}],
    }
