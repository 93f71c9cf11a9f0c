# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request with the standard library alone, so that any host can send it, and with one deadline for all of it.

A resolver that does not answer cannot be interrupted: each request runs in a thread that is left behind at its end.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from .._bounded import BoundedSocket
from .._errors import InvalidInput, OperationError, Unreachable
from .._http import USER_AGENT, Answer, Tls

_LARGEST_ANSWER = 4 * 1024 * 1024

Found = TypeVar("Found")


def checked_address(option: str, url: str) -> SplitResult:
    """The parts of ``url``.

    :raises InvalidInput: it is no address of HTTP, or has credentials in it; what may be secret is not shown.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("invalid_option", f"Option {option} has an address that cannot be read.") from None
    if "@" in parts.netloc:
        raise InvalidInput("invalid_option", f"Option {option} has credentials in an address; give them as a header.")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidInput("invalid_option", f"Option {option}: {shown(url)!r} is no address like http://host:port/.")
    if any(not "!" <= letter <= "~" for letter in url):
        raise InvalidInput("invalid_option", f"Option {option}: {shown(url)!r} has a character that has to be encoded.")
    return parts


def shown(url: str) -> str:
    """An address without its query, which often is a secret."""
    return url.partition("?")[0].partition("#")[0]


def tls_context(tls: Tls, urls: Iterable[str]) -> ssl.SSLContext | None:
    """How certificates are checked and shown; ``None`` when none of ``urls`` is one of https: it takes a while.

    :raises InvalidInput: a file is none of certificates or keys.
    """
    if not any(url.startswith("https:") for url in urls):
        return None
    try:
        context = ssl.create_default_context()
        if tls.ca_path and tls.validate_certs:
            is_folder = Path(tls.ca_path).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else tls.ca_path, capath=tls.ca_path if is_folder else None
            )
        if not tls.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.client_cert:
            context.load_cert_chain(tls.client_cert, tls.client_key)
    except OSError as error:  # an ssl.SSLError too
        why = error.strerror or str(error)
        raise InvalidInput(
            "invalid_option", f"A file of ca_path, client_cert or client_key cannot be used: {why}"
        ) from None
    return context


def send(
    method: str,
    url: str,
    *,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    host_header: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send one request over a new connection; the whole answer has to be there within ``timeout`` seconds.

    ``tls``: for an address of https, and only there. Redirects are not followed. ``host_header`` is also the name that
    a server has to show a certificate for.

    :raises Unreachable: no whole answer; the message is only what was wrong ("Connection refused").
    """
    return within(timeout, lambda: _sent(method, url, timeout, tls, host_header, headers or {}, body))


def within(seconds: float, function: Callable[[], Found]) -> Found:
    """Return ``function()``, or raise what it raises.

    :raises Unreachable: it took longer than ``seconds``.
    """
    outcome: list[Found | OperationError] = []

    def work() -> None:
        try:
            outcome.append(function())
        except OperationError as error:
            outcome.append(error)
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to: the caller gets it as any failure
            outcome.append(Unreachable("unreachable", f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=work, name="health", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise Unreachable("unreachable", _late(seconds))
    if isinstance(outcome[0], OperationError):
        raise outcome[0]
    return outcome[0]


def _sent(
    method: str,
    url: str,
    timeout: float,
    tls: ssl.SSLContext | None,
    host_header: str | None,
    headers: Mapping[str, str],
    body: bytes | None,
) -> Answer:
    deadline = time.monotonic() + timeout
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = {"Host": host_header} if host_header else {}
    # The name alone, without a port; a text in brackets is an address of IPv6.
    server_name = urlsplit(f"//{host_header}").hostname if host_header else parts.hostname
    port = parts.port or (443 if tls else 80)
    connection: Any = http.client.HTTPConnection(parts.hostname or "", port, timeout=timeout)
    if tls:  # what is not named in the header Host
        connection.default_port = 443
    try:
        connection.connect()
        if tls:
            connection.sock.settimeout(_left(deadline))
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=server_name)
        connection.sock.settimeout(_left(deadline))
        connection.sock = BoundedSocket(connection.sock, lambda: deadline)
        connection.request(method, path, body, {"User-Agent": USER_AGENT, "Connection": "close", **headers, **named})
        response = connection.getresponse()
        content = response.read(_LARGEST_ANSWER + 1)
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("unreachable", f"TLS: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Unreachable("unreachable", f"TLS: {error.reason or error}") from None
    except TimeoutError:
        raise Unreachable("unreachable", _late(timeout)) from None
    except OSError as error:
        raise Unreachable("unreachable", error.strerror or str(error) or type(error).__name__) from None
    except http.client.HTTPException as error:
        raise Unreachable("unreachable", f"no answer of HTTP ({type(error).__name__})") from None
    finally:
        connection.close()
    if len(content) > _LARGEST_ANSWER:
        raise Unreachable("unreachable", f"an answer of more than {_LARGEST_ANSWER >> 20} MiB")
    text = content.decode("utf-8", "replace")
    return Answer(
        f"{parts.scheme}://{parts.netloc}", f"{method} {parts.path or '/'}", response.status, response.headers, text
    )


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s"


def _left(deadline: float) -> float:
    """Seconds until the deadline.

    :raises TimeoutError: there are none.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
