# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask marathon-lb, one instance at a time: each address that a host name has is an instance of its own.

Each question goes over a new connection. A worker that was replaced by a reload keeps the connections that it has: over
a kept one it would go on telling of the past.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ansible.module_utils.basic import env_fallback

from .._bounded import BoundedSocket
from .._errors import InvalidInput, Rejected, Unreachable
from .._http import TLS_SPEC, USER_AGENT, Tls
from . import stats

MARATHON_LB_SPEC: dict[str, Any] = {
    "marathon_lb_url": {
        "type": "list",
        "elements": "str",
        "required": True,
        "fallback": (env_fallback, ["MARATHON_LB_URL"]),
    },
    "lb_addresses": {"type": "str", "choices": ["all", "ipv4", "ipv6"], "default": "all"},
    "lb_username": {"type": "str", "fallback": (env_fallback, ["MARATHON_LB_USERNAME"])},
    "lb_password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MARATHON_LB_PASSWORD"])},
    **TLS_SPEC,
}

DEFAULT_PORT = 9090

STATS = "/haproxy?stats;csv"
PAGE = "/haproxy?stats"
CONFIG = "/_haproxy_getconfig"
PIDS = "/_haproxy_getpids"

_VERIFIED = Tls()
_FAMILIES = {"all": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_PORTS = {"http": 80, "https": 443}
_LARGEST_ANSWER = 64 * 1024 * 1024
_PROCESS_ID = re.compile(r"Statistics Report for pid (\d+)|<b>pid = </b> (\d+)")


@dataclass(frozen=True)
class MarathonLb:
    """One marathon-lb instance: ``ip`` is asked, by the name ``host``. ``timeout`` is in seconds, for a whole answer.

    ``auth`` is the value of the header ``Authorization``; ``tls`` is ``None`` for plain HTTP.
    """

    scheme: str
    host: str
    ip: str
    port: int
    timeout: float = 10
    auth: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The address, as people write it: ``10.0.0.1:9090``."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def url(self) -> str:
        """The base address that is asked."""
        return f"{self.scheme}://{self.name}"

    def table(self) -> list[dict[str, str]]:
        """The statistics: one dict by column name for each frontend, backend and server."""
        return stats.parse(self._get(STATS), f"lb {self.name}", f"GET {STATS}")

    def stats(self) -> dict[tuple[str, str], stats.ServerRow]:
        """The servers by backend and name, as the worker that takes new connections sees them."""
        return stats.server_rows(self.table(), f"lb {self.name}", f"GET {STATS}")

    def config(self) -> str:
        """The configuration with which the worker that takes new connections was started."""
        text = self._get(CONFIG)
        if not re.search(r"^\s*(global|defaults|frontend|backend|listen)\b", text, re.MULTILINE):
            self._unreadable(CONFIG, text, "no configuration")
        return text

    def pids(self) -> tuple[int, ...]:
        """The process ids of all HAProxy processes: the master, the live worker, and workers from before a reload.

        Ask seldom: answering it forks inside HAProxy, and with several threads that breaks client connections.
        """
        text = self._get(PIDS)
        words = text.split()
        if not words or not all(word.isdecimal() for word in words):
            self._unreadable(PIDS, text, "no process ids")
        return tuple(sorted(int(word) for word in words))

    def process_id(self) -> int:
        """The process id of the worker that takes new connections, from the statistics page."""
        text = self._get(PAGE)
        match = _PROCESS_ID.search(text)
        if not match:
            self._unreadable(PAGE, text, "a page without a process id")
        return int(match[1] or match[2])

    def _get(self, path: str) -> str:
        """The body of a 200.

        :raises Rejected: the LB refuses (3xx, 4xx), or is not trusted; asking again would not help.
        :raises Unreachable: no answer in time, or one of 5xx.
        """
        request = f"GET {path}"
        try:
            status, body = self._exchange(path)
        except ssl.SSLCertVerificationError as error:
            raise Rejected(
                "untrusted",
                f"lb {self.name}: its certificate is not trusted ({error.verify_message.rstrip('.')})",
                system=self.url,
                request=request,
            ) from None
        except ssl.SSLError as error:
            raise self._silent(request, f"broken TLS, {error.reason or error}") from None
        except TimeoutError:
            raise self._silent(request, f"nothing within {self.timeout:g} s") from None
        except OSError as error:
            raise self._silent(request, error.strerror or str(error) or type(error).__name__) from None
        except http.client.HTTPException as error:
            raise self._silent(request, f"broken HTTP, {type(error).__name__}") from None
        if status == 200:
            return body.decode("utf-8", "replace")
        kind, why = (Unreachable, "unavailable") if status >= 500 else (Rejected, "refused")
        advice = {401: " Check lb_username and lb_password.", 403: " Check lb_username and lb_password."}
        message = f"lb {self.name} answered {request} with {status}.{advice.get(status, '')}"
        if status == 404:
            message += " Is this the statistics address of a marathon-lb?"
        raise kind(why, message, system=self.url, request=request, status=status)

    def _exchange(self, path: str) -> tuple[int, bytes]:
        deadline = time.monotonic() + self.timeout
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            raw = socket.create_connection((self.ip, self.port), timeout=self.timeout)
            raw = self.tls.wrap_socket(raw, server_hostname=self.host) if self.tls else raw
            connection.sock = BoundedSocket(raw, lambda: deadline)
            headers = {"Connection": "close", "User-Agent": USER_AGENT}
            if self.auth:
                headers["Authorization"] = self.auth
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            parts: list[bytes] = []
            while part := response.read1(65536):
                parts.append(part)
                if sum(map(len, parts)) > _LARGEST_ANSWER:
                    raise OSError("an endless answer")
            if response.length:  # the connection was closed before the announced length
                raise OSError("an answer that breaks off")
            return response.status, b"".join(parts)
        finally:
            connection.close()

    def _silent(self, request: str, why: str) -> Unreachable:
        return Unreachable(
            "unreachable",
            f"lb {self.name}: no answer to {request} ({why[:1].lower() + why[1:]})",
            system=self.url,
            request=request,
        )

    def _unreadable(self, path: str, text: str, what: str) -> NoReturn:
        shown = " ".join(text.split())[:120]
        raise Unreachable(
            "unreadable_answer",
            f"lb {self.name} answered GET {path} with {what}: {shown!r}",
            system=self.url,
            request=f"GET {path}",
        )


def instances(params: Mapping[str, Any]) -> list[MarathonLb]:
    """The instances that the options of ``MARATHON_LB_SPEC`` name.

    :raises InvalidInput: an address that is none, a file that cannot be read.
    :raises Unreachable: a host name without an address.
    """
    return resolve(
        params["marathon_lb_url"],
        username=params["lb_username"],
        password=params["lb_password"],
        addresses=params["lb_addresses"],
        tls=Tls.from_params(params),
        timeout=params["timeout"],
    )


def resolve(
    urls: Sequence[str],
    *,
    username: str | None = None,
    password: str | None = None,
    addresses: str = "all",
    tls: Tls = _VERIFIED,
    timeout: float = 10,
) -> list[MarathonLb]:
    """One :class:`MarathonLb` for each address that the host names in ``urls`` have, each once, in their order.

    ``addresses`` is ``all``, ``ipv4`` or ``ipv6``. The certificate is checked against the host name, and the header
    ``Host`` says it, although the address is asked.

    :raises InvalidInput: an address that is none. :raises Unreachable: a host name that has no address.
    """
    if not urls:
        raise InvalidInput(
            "invalid_option", "Option marathon_lb_url: no address is given; one is like http://host:9090."
        )
    auth = None
    if username is not None:
        auth = "Basic " + base64.b64encode(f"{username}:{password or ''}".encode()).decode()
    context: ssl.SSLContext | None = None
    found: dict[tuple[str, str, int], MarathonLb] = {}
    for url in urls:
        scheme, host, port = _address(url)
        if scheme == "https" and context is None:
            context = _ssl_context(tls)
        for ip in _ips(host, port, addresses):
            found.setdefault(
                (scheme, ip, port),
                MarathonLb(scheme, host, ip, port, timeout, auth, context if scheme == "https" else None),
            )
    return list(found.values())


def _address(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    if "@" in parts.netloc:  # not shown: it holds a password
        raise InvalidInput(
            "invalid_option", "The address of a load balancer has credentials in it; use lb_username and lb_password."
        )
    if parts.scheme not in _PORTS or not parts.hostname or port == -1 or parts.path.strip("/") or parts.query:
        raise InvalidInput(
            "invalid_option",
            f"{url!r} is no address of a load balancer, which is of the form http://host:{DEFAULT_PORT}.",
        )
    return parts.scheme, parts.hostname, port or DEFAULT_PORT


def _ips(host: str, port: int, addresses: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, family=_FAMILIES[addresses], type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unreachable(
            "unresolvable", f"lb {host}: the host name has no address ({why})", system=f"{host}:{port}"
        ) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if tls.ca_path:
            path = Path(tls.ca_path)
            context.load_verify_locations(**{"capath" if path.is_dir() else "cafile": str(path)})
        if tls.client_cert:
            context.load_cert_chain(tls.client_cert, tls.client_key)
    except OSError as error:
        raise InvalidInput(
            "invalid_option", f"Options ca_path, client_cert, client_key: cannot be used ({error.strerror or error})."
        ) from None
    if not tls.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
