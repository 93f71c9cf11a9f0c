# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One session towards one system: timeouts, TLS, authentication, fail-over, retries, errors."""

from __future__ import annotations

import json
import re
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
except ImportError:
    HAS_REQUESTS = False
    REQUESTS_ERROR: str | None = traceback.format_exc()
else:
    HAS_REQUESTS = True
    REQUESTS_ERROR = None

from ._bounded import BoundedSocket
from ._errors import InvalidInput, OperationError, Unreachable
from ._invocation.context import Context

USER_AGENT = "zdd.rollout"

TLS_SPEC: dict[str, Any] = {
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "timeout": {"type": "float", "default": 10},
    "retry_timeout": {"type": "float", "default": 30},
}

_LARGEST_ANSWER = 256 * 1024 * 1024
_reading = threading.local()
_UNAVAILABLE = frozenset({500, 502, 503, 504})
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Tls:
    """How certificates are checked and shown; the paths are files (``ca_path`` may be a folder)."""

    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Tls:
        """Read the options of ``TLS_SPEC``.

        :raises InvalidInput: a file that is named cannot be read.
        """
        for option in ("ca_path", "client_cert", "client_key"):
            path = params[option]
            if path and not Path(path).exists():
                raise InvalidInput("invalid_option", f"Option {option}: there is no file {path}.")
        if params["client_key"] and not params["client_cert"]:
            raise InvalidInput("invalid_option", "Option client_key needs the option client_cert beside it.")
        return cls(params["validate_certs"], params["ca_path"], params["client_cert"], params["client_key"])

    def apply(self, session: requests.Session) -> None:
        """Set the session up."""
        session.verify = (self.ca_path or True) if self.validate_certs else False
        if not self.validate_certs:  # as asked for: a warning for each request would say nothing new
            warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        if self.client_cert:
            session.cert = (self.client_cert, self.client_key) if self.client_key else self.client_cert


@dataclass(frozen=True)
class Answer:
    """What came back; ``text`` is the body.

    ``uncertain``: the same request was sent before and got no answer, so it may have been applied already.
    """

    system: str
    request: str
    status: int
    headers: Mapping[str, str]
    text: str
    uncertain: bool = False

    def json(self) -> Any:
        """The body as JSON.

        :raises Unreachable: it is none; an answer that cannot be read says nothing.
        """
        try:
            return json.loads(self.text)
        except ValueError:
            shown = self.text[:200].strip()
            raise Unreachable(
                "unreadable_answer",
                f"{self.system} answered {self.request} with {self.status} and a body that is no JSON: {shown!r}",
                system=self.system,
                request=self.request,
                status=self.status,
            ) from None


class Http:
    """Asks the members of one system in turn until one answers.

    ``urls``: base addresses, without a trailing slash; ``name``: what people call the system ("Marathon").
    A request is repeated for ``retry_timeout`` seconds while nobody answers or the answer is 500, 502, 503 or 504,
    when that is safe: ``repeatable`` requests always, others only while no connection was made at all.
    ``answers_itself(answer)`` tells a 5xx that is a real answer of the application from one of an ailing system.
    ``sent`` counts the requests that were sent, repetitions and streams included.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        context: Context,
        *,
        timeout: float = 10,
        retry_timeout: float = 30,
        tls: Tls = Tls(),
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        keep_alive: bool = True,
    ) -> None:
        if not HAS_REQUESTS:
            raise OperationError(
                "missing_library", "The Python library requests is needed on the host that runs this task."
            )
        self.name = name
        self.urls = [url.rstrip("/") for url in urls]
        self.timeout = timeout
        self.retry_timeout = retry_timeout
        self.sent = 0
        self._context = context
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _bounding_adapter())
        self._session.trust_env = False
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.headers.update(headers or {})
        self._keep_alive = keep_alive
        if not keep_alive:
            self._session.headers["Connection"] = "close"
        self._session.auth = auth
        tls.apply(self._session)

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._session.close()

    def set_header(self, name: str, value: str) -> None:
        """Send a header with all later requests."""
        self._session.headers[name] = value

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        answers_itself: Callable[[Answer], bool] = lambda _answer: False,
    ) -> Answer:
        """Send one request to the first member that answers.

        :raises Unreachable: nobody answered within ``retry_timeout``.
        """
        deadline = self._context.now() + self.retry_timeout
        pause = _FIRST_PAUSE
        uncertain = False
        while True:
            failure: OperationError | None = None
            for url in list(self.urls):
                try:
                    answer = self._once(url, method, path, query, body, headers)
                except requests.exceptions.SSLError as error:
                    raise self._unreachable(url, method, path, f"TLS: {_cause(error)}") from None
                except requests.exceptions.ConnectTimeout as error:
                    failure = self._unreachable(url, method, path, _cause(error))
                    continue
                except requests.exceptions.ConnectionError as error:
                    failure = self._unreachable(url, method, path, _cause(error))
                    uncertain = uncertain or not _never_connected(error)
                    if uncertain and not repeatable:
                        raise failure from None
                    continue
                except requests.exceptions.RequestException as error:
                    failure = self._unreachable(url, method, path, _cause(error))
                    uncertain = True
                    if not repeatable:
                        raise failure from None
                    continue
                if answer.status not in _UNAVAILABLE or answers_itself(answer):
                    self._prefer(url)
                    return replace(answer, uncertain=uncertain)
                failure = self._unavailable(answer)
                uncertain = True
                if not repeatable:
                    raise failure
            left = deadline - self._context.now()
            if left <= 0:
                raise failure or Unreachable("no_address", f"{self.name} has no address.")
            self._context.progress(f"{failure.message} (asked again for {left:.0f} s)")
            self._context.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idle: float | None = None,
    ) -> Any:
        """Open a streamed GET at the first member that answers 200: a ``requests.Response``, for the caller to close.

        A stream that is silent for ``idle`` seconds breaks off. One redirect is followed (Marathon's standby members
        send readers of events to the leader), with the credentials, which the member would pass on to that address
        itself; never from https to http.

        :raises Unreachable: no member gave the stream; nothing is repeated.
        """
        failure: OperationError | None = None
        for url in list(self.urls):
            try:
                response = self._open(url + path, query, headers, idle)
                if response.is_redirect:
                    response = self._redirected(response, headers, idle)
            except requests.exceptions.RequestException as error:
                failure = self._unreachable(url, "GET", path, _cause(error))
                continue
            if response.status_code == 200:
                return response
            response.close()
            failure = self._unreachable(url, "GET", path, f"status {response.status_code}")
        raise failure or Unreachable("no_address", f"{self.name} has no address.")

    def _open(
        self, url: str, query: Mapping[str, Any] | None, headers: Mapping[str, str] | None, idle: float | None
    ) -> requests.Response:
        self.sent += 1
        return self._session.get(
            url, params=query, headers=headers, stream=True, timeout=(self.timeout, idle), allow_redirects=False
        )

    def _redirected(
        self, response: requests.Response, headers: Mapping[str, str] | None, idle: float | None
    ) -> requests.Response:
        target = urljoin(response.url, response.headers["Location"])
        if urlsplit(response.url).scheme == "https" and urlsplit(target).scheme != "https":
            return response
        response.close()
        return self._open(target, None, headers, idle)

    def _once(
        self,
        url: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        self.sent += 1
        with _bounded(self.timeout):
            response = self._session.request(
                method,
                url + path,
                params=query,
                json=body,
                headers=headers,
                timeout=self.timeout,
                allow_redirects=False,
                stream=True,
            )
            with response:
                text = _text(response)
        if not self._keep_alive:  # also where the server does not say that it closes
            self._session.close()
        return Answer(url, f"{method} {path}", response.status_code, response.headers, text)

    def _prefer(self, url: str) -> None:
        self.urls.remove(url)
        self.urls.insert(0, url)

    def _unreachable(self, url: str, method: str, path: str, why: str) -> Unreachable:
        request = f"{method} {path}"
        return Unreachable(
            "unreachable", f"{self.name} at {url} did not answer {request}: {why}", system=url, request=request
        )

    def _unavailable(self, answer: Answer) -> Unreachable:
        shown = " ".join(answer.text.split())[:200]
        return Unreachable(
            "unavailable",
            f"{self.name} at {answer.system} answered {answer.request} with {answer.status}: {shown}",
            system=answer.system,
            request=answer.request,
            status=answer.status,
        )


@cache
def _bounding(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """A kind of pool whose answers keep to the deadline of the thread that reads them."""

    class Connection(pool.ConnectionCls):
        def connect(self) -> None:
            super().connect()
            self.sock = BoundedSocket(self.sock, _deadline)

    return type(f"Bounding{pool.__name__}", (pool,), {"ConnectionCls": Connection})


def _bounding_adapter() -> HTTPAdapter:
    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {
        "http": _bounding(HTTPConnectionPool),
        "https": _bounding(HTTPSConnectionPool),
    }
    return adapter


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Give the answers that this thread reads inside the block a deadline."""
    _reading.deadline = time.monotonic() + seconds
    try:
        yield
    finally:
        _reading.deadline = None


def _deadline() -> float | None:
    return getattr(_reading, "deadline", None)


def _text(response: requests.Response) -> str:
    """The body.

    :raises requests.exceptions.ContentDecodingError: it is larger than any answer of a system that is well.
    """
    body = bytearray()
    for part in response.iter_content(65536):
        body += part
        if len(body) > _LARGEST_ANSWER:
            raise requests.exceptions.ContentDecodingError(f"more than {_LARGEST_ANSWER >> 20} MiB")
    try:
        return body.decode(response.encoding or "utf-8", "replace")
    except LookupError:  # a charset that nobody knows
        return body.decode("utf-8", "replace")


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")


def _cause(error: Exception) -> str:
    """The innermost words of a requests error, without the objects that it wraps."""
    inner: Any = error
    while True:
        causes = (getattr(inner, "reason", None), *getattr(inner, "args", ()))
        deeper = next((cause for cause in causes if isinstance(cause, BaseException)), None)
        if deeper is None:
            break
        inner = deeper
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return re.sub(r"^\[Errno \d+\] ", "", str(inner).rpartition(": ")[2]) or type(inner).__name__
