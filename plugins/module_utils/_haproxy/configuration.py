# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a live HAProxy configuration says about servers and about idle connections.

Only what the drain evidence needs is read: sections, ``server`` lines, timeouts, and two options. The text comes from
marathon-lb's ``/_haproxy_getconfig``, which answers the configuration as it was when the worker started.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_PROXIES = frozenset({"frontend", "listen", "backend"})
_SECTIONS = _PROXIES | {
    "global",
    "defaults",
    "peers",
    "resolvers",
    "mailers",
    "userlist",
    "program",
    "http-errors",
    "cache",
    "ring",
    "fcgi-app",
    "log-forward",
    "crt-store",
    "traces",
    "log-profile",
}
_SECONDS = {"us": 1e-6, "": 1e-3, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+)(us|ms|s|m|h|d)?")


@dataclass(frozen=True)
class ConfiguredServer:
    """A ``server`` line. ``address`` is ``host:port`` as written, ``checked`` whether HAProxy checks it."""

    backend: str
    server: str
    address: str
    disabled: bool
    checked: bool


@dataclass(frozen=True)
class Configuration:
    """``servers`` by backend and name; ``keep_alive``: see :func:`keep_alive_seconds`."""

    servers: Mapping[tuple[str, str], ConfiguredServer]
    keep_alive: float

    @property
    def disabled(self) -> frozenset[tuple[str, str]]:
        """The servers that the configuration takes out."""
        return frozenset(key for key, server in self.servers.items() if server.disabled)


@dataclass
class _Section:
    kind: str
    name: str
    lines: list[list[str]] = field(default_factory=list)
    inherited: _Section | None = None

    def value(self, *words: str) -> str | None:
        """The word after ``words`` on the last line that begins with them, here or in the defaults."""
        found = None
        for line in self.lines:
            if line[: len(words)] == list(words) and len(line) > len(words):
                found = line[len(words)]
        return self.inherited.value(*words) if found is None and self.inherited else found

    def option(self, name: str) -> bool:
        """Whether an option is on, here or, when nothing is said here, in the defaults."""
        for line in reversed(self.lines):
            if line[:2] == ["option", name]:
                return True
            if line[:3] == ["no", "option", name]:
                return False
        return self.inherited.option(name) if self.inherited else False


def parse(text: str) -> Configuration:
    """Read a configuration."""
    sections = list(_sections(text))
    servers = {
        (server.backend, server.server): server
        for section in sections
        if section.kind in ("backend", "listen")
        for server in _servers(section)
    }
    return Configuration(servers, _keep_alive(sections))


def keep_alive_seconds(text: str) -> float:
    """How long an idle HTTP connection of a client may live, in seconds, by the configuration ``text``.

    With ``option idle-close-on-response`` a worker that was replaced by a reload does not close its idle connections:
    it takes one more request on each of them, and sends it where *its* configuration says. So the old tasks are
    certain to be left alone by HTTP clients only after this time. It is the longest ``timeout http-keep-alive`` (or
    else ``http-request``, or else ``client``: HAProxy's own order) of the frontends in mode http with that option;
    0 without the option, ``math.inf`` when no such timeout is set. Connections in mode tcp have no such limit: they
    stay with the old worker, and with their task, until one end closes them.
    """
    return _keep_alive(list(_sections(text)))


def _keep_alive(sections: list[_Section]) -> float:
    return max(
        (
            _idle_time(section)
            for section in sections
            if section.kind in ("frontend", "listen")
            and section.value("mode") == "http"
            and section.option("idle-close-on-response")
        ),
        default=0.0,
    )


def _idle_time(section: _Section) -> float:
    for name in ("http-keep-alive", "http-request", "client"):
        value = section.value("timeout", name)
        if value is not None:
            return _seconds(value)
    return math.inf


def _seconds(value: str) -> float:
    """A duration of HAProxy: a number with a unit, milliseconds without one; infinite when it cannot be read."""
    match = _TIME.fullmatch(value)
    return float(match[1]) * _SECONDS[match[2] or ""] if match else math.inf


def _sections(text: str) -> Iterator[_Section]:
    """The sections with their lines as words; a proxy inherits from the ``defaults`` before it, or from a named one."""
    current: _Section | None = None
    defaults: _Section | None = None
    named: dict[str, _Section] = {}
    for raw in text.splitlines():
        words = _words(raw)
        if not words:
            continue
        if words[0] in _SECTIONS:
            if current:
                yield current
            current = _Section(words[0], words[1] if len(words) > 1 else "")
            source = named.get(words[words.index("from") + 1]) if "from" in words[:-1] else None
            if current.kind in _PROXIES:
                current.inherited = source or defaults
            elif current.kind == "defaults":
                current.inherited = source
                defaults = named[current.name] = current
        elif current:
            current.lines.append(words)
    if current:
        yield current


def _words(line: str) -> list[str]:
    """The words of a line up to a comment. A ``#`` inside quotes or after a backslash is text."""
    return [
        _unquoted(word)
        for word in re.findall(r"(?:\\.|\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s\"'#\\])+|#.*", line)
        if word[0] != "#"
    ]


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)|\"((?:\\.|[^\"\\])*)\"|'([^']*)'", lambda match: match[1] or match[2] or match[3] or "", word)


def _servers(section: _Section) -> Iterator[ConfiguredServer]:
    default_check = default_disabled = False
    for words in section.lines:
        if words[0] == "default-server":
            default_check = _flag(words[1:], "check", "no-check", default_check)
            default_disabled = _flag(words[1:], "disabled", "enabled", default_disabled)
        elif words[0] == "server" and len(words) > 2:
            options = words[3:]
            yield ConfiguredServer(
                backend=section.name,
                server=words[1],
                address=words[2],
                disabled=_flag(options, "disabled", "enabled", default_disabled),
                checked=_flag(options, "check", "no-check", default_check),
            )


def _flag(words: list[str], on: str, off: str, default: bool) -> bool:
    state = default
    for word in words:
        state = True if word == on else False if word == off else state
    return state
