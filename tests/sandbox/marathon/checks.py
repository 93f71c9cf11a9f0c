# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check of one task: HTTP, TCP or a command. Plain streams; an HTTP client library costs too much here."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    reason: str
    content_type: str
    body: str


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def http_get(host: str, port: int, path: str, timeout: float, *, tls: bool = False) -> Answer:
    """GET with a connection of its own. Raises ``OSError`` (``TimeoutError`` among them) and ``ValueError``."""
    async with asyncio.timeout(timeout):
        return await _http_get(host, port, path, tls)


async def _http_get(host: str, port: int, path: str, tls: bool) -> Answer:
    reader, writer = await asyncio.open_connection(host, port, ssl=_unverified() if tls else None)
    try:
        path = path if path.startswith("/") else f"/{path}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        raw = await reader.read(65536)
        while b"\r\n\r\n" not in raw:
            more = await reader.read(65536)
            if not more:
                break
            raw += more
        head, _separator, body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        _version, status, reason = [*lines[0].split(" ", 2), "", ""][:3]
        headers = {
            key.strip().lower(): value.strip() for key, _separator, value in (one.partition(":") for one in lines[1:])
        }
        length = int(headers.get("content-length", len(body)))
        while len(body) < length:
            more = await reader.read(65536)
            if not more:
                break
            body += more
        kind = headers.get("content-type", "").split(";")[0]
        return Answer(int(status), reason, kind, body.decode("utf-8", "replace"))
    finally:
        writer.close()


async def http(host: str, port: int, path: str, timeout: float, *, tls: bool = False) -> str | None:
    """``None`` when the status is 200 to 399, else what is wrong."""
    try:
        answer = await http_get(host, port, path, timeout, tls=tls)
    except TimeoutError:
        return f"Health check timed out after {timeout:g} seconds"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None if 200 <= answer.status <= 399 else f"{answer.status} {answer.reason}".strip()


async def tcp(host: str, port: int, timeout: float) -> str | None:
    """``None`` when a connection comes about, else what is wrong."""
    try:
        async with asyncio.timeout(timeout):
            _reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"Health check timed out after {timeout:g} seconds"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    writer.close()
    return None


async def command(line: str, environment: Mapping[str, str], timeout: float, folder: Path) -> str | None:
    """``None`` when the command ends with 0, else what is wrong."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        line,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            code = await process.wait()
    except TimeoutError:
        return f"Command has not returned after {timeout:g} seconds"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return None if code == 0 else f"Command returned exit status {code}"
