# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of Docker's swarm managers: one method per call, no decisions, the API's own data in and out.

The Docker SDK for Python brings the transports (UNIX sockets, TCP with TLS, SSH) and the credentials of registries; the
calls are made here, so that a service's definition is handed through as it is, whatever fields a newer engine has.

Every call may be sent again when no answer came: reading changes nothing; an update carries the version that it
replaces, so a repeated one is refused as out of sequence; a creation that is repeated answers that the name is taken,
and it is ours when what is there carries what was sent; a removal that is repeated answers 404.
"""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import env_fallback

try:
    import requests
    from docker import APIClient
    from docker.auth import get_config_header, resolve_repository_name
    from docker.errors import DockerException
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import HTTPError
except ImportError:
    HAS_DOCKER = False
    DOCKER_ERROR: str | None = traceback.format_exc()
else:
    HAS_DOCKER = True
    DOCKER_ERROR = None

try:
    from paramiko.ssh_exception import SSHException
except ImportError:  # needed for ssh:// addresses only
    HAS_PARAMIKO = False

    class SSHException(Exception):
        """Never raised: there is no paramiko."""

else:
    HAS_PARAMIKO = True

from .._errors import InvalidInput, NotFound, OperationError, Rejected, Unreachable
from .._http import TLS_SPEC, Tls
from .._invocation.context import Context
from .group import GROUP_LABEL

SWARM_SPEC: dict[str, Any] = {
    "docker_host": {
        "type": "list",
        "elements": "str",
        "default": ["unix:///var/run/docker.sock"],
        "fallback": (env_fallback, ["DOCKER_HOST"]),
    },
    "tls": {"type": "bool", "default": False},
    "tls_hostname": {"type": "str"},
    "use_ssh_client": {"type": "bool", "default": False},
    **TLS_SPEC,
}

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_OLDEST_API = "1.41"  # of engine 20.10; where an engine does not tell its own
# What a manager says that cannot answer for the swarm now (moby: daemon/cluster/errors.go, and the raft's own words).
_NO_MANAGER = re.compile(r"not a swarm manager|not part of a swarm|swarm is encrypted", re.IGNORECASE)
_AILING = re.compile(r"does not have a leader|context deadline exceeded|code = (?:Unavailable|Canceled)", re.IGNORECASE)
_SEQUENCE = "update out of sequence"
_ATTEMPTS = 20  # how often a change is worked out anew because somebody else was faster

Json = dict[str, Any]


@dataclass(frozen=True)
class _Answer:
    """``uncertain``: the same request was sent before and got no answer, so it may have been applied already."""

    url: str
    request: str
    status: int
    body: Any
    uncertain: bool

    @property
    def said(self) -> str:
        """The engine's own words for a refusal, without the frame of its inner protocol."""
        text = self.body.get("message", "") if isinstance(self.body, Mapping) else str(self.body or "")
        return re.sub(r"^rpc error: code = \w+ desc = ", "", text.strip()) or "no reason given"


class _NoManager(Exception):
    """This engine is no manager of a swarm; to ask again would not change that."""


class _Failed(Exception):
    """An engine did not answer, or its answer says nothing about the swarm."""


class Swarm:
    """The managers of one swarm, asked in turn until one answers for the swarm.

    All methods raise ``Unreachable`` when no manager answers, ``NotFound`` for what does not exist, and ``Rejected``
    for anything that the swarm does not accept: with the code ``no_manager`` when none of the engines is a manager of
    an active swarm, ``already_exists`` for a name that is taken, ``version_conflict`` when somebody else has changed
    the thing since it was read (read again and decide anew), otherwise ``rejected``.
    """

    def __init__(
        self,
        urls: Sequence[str],
        context: Context,
        open_engine: Callable[[str], Any],
        *,
        timeout: float = 10,
        retry_timeout: float = 30,
    ) -> None:
        """``open_engine(url)`` gives a session of ``docker.APIClient``'s kind; times are in seconds."""
        self._urls = list(urls)
        self._context = context
        self._open = open_engine
        self._timeout = timeout
        self._retry_timeout = retry_timeout
        self._engines: dict[str, tuple[Any, str]] = {}
        self.sent = 0

    @classmethod
    def from_params(cls, params: Mapping[str, Any], context: Context) -> Swarm:
        """Read the options of ``SWARM_SPEC``; nothing is sent yet.

        :raises InvalidInput: they do not fit together.
        :raises OperationError: the Docker SDK for Python is not there; code ``missing_library``.
        """
        if not HAS_DOCKER:
            raise OperationError(
                "missing_library",
                "The Python library docker (the Docker SDK for Python) is needed on the host that runs this task.",
            )
        urls = [url for url in (url.strip() for url in params["docker_host"]) if url]
        if not urls:
            raise InvalidInput(
                "invalid_option", "Option docker_host: no address is given; one is like unix:///var/run/docker.sock."
            )
        for url in urls:
            if not re.match(r"(unix|tcp|https?|ssh)://", url):
                raise InvalidInput(
                    "invalid_option",
                    f"Option docker_host: {url} is no address like unix:///var/run/docker.sock, tcp://host:2376 or "
                    "ssh://user@host.",
                )
            if url.startswith("ssh://") and not HAS_PARAMIKO:
                raise OperationError(
                    "missing_library",
                    f"The Python library paramiko is needed for {url} on the host that runs this task (the Docker SDK "
                    "needs it with use_ssh_client, too).",
                )
        tls = Tls.from_params(params)
        encrypted = bool(params["tls"] or tls.ca_path or tls.client_cert or params["tls_hostname"])

        def open_engine(url: str) -> Any:
            over_tls = url.startswith("https://") or (url.startswith("tcp://") and encrypted)
            engine = APIClient(
                base_url=url,
                version=_OLDEST_API,  # told from the engine's own answer below; here it would ask before TLS is set up
                timeout=params["timeout"],
                tls=over_tls,
                use_ssh_client=params["use_ssh_client"],
            )
            engine.trust_env = False
            if over_tls:
                if params["tls_hostname"]:
                    engine.mount("https://", _NamedHost(params["tls_hostname"]))
                tls.apply(engine)
            return engine

        return cls(urls, context, open_engine, timeout=params["timeout"], retry_timeout=params["retry_timeout"])

    def __enter__(self) -> Swarm:
        return self

    def __exit__(self, *_exception: object) -> None:
        for url in list(self._engines):
            self._forget(url)

    @property
    def url(self) -> str:
        """The address of the manager that answered last; before the first answer, the one that is asked first."""
        return self._urls[0]

    @property
    def context(self) -> Context:
        """How the operation that asks is run."""
        return self._context

    @contextmanager
    def blamed(self, *, changed: bool) -> Iterator[None]:
        """Let an error inside the block say which manager it is about, and that something was ``changed`` before."""
        try:
            yield
        except OperationError as error:
            error.system = error.system or self.url
            error.changed = error.changed or changed
            raise

    # Services and their tasks

    def services(self, group: str | None = None) -> list[Json]:
        """All services, or those with the label of a group."""
        filters = {} if group is None else {"label": [f"{GROUP_LABEL}={group}"]}
        return self._get("/services", filters=filters)

    def service(self, name: str) -> Json:
        """One service by its exact name."""
        # Asked by path, an id that begins with the text would do, too.
        found = [service for service in self._get("/services", filters={"name": [name]}) if _name(service) == name]
        if not found:
            raise NotFound(
                "not_found",
                f"There is no service {name} in the swarm of {self.url}.",
                system=self.url,
                request="GET /services",
            )
        return found[0]

    def create_service(self, spec: Mapping[str, Any]) -> str:
        """Create a service from a raw ``ServiceSpec`` and return its id.

        :raises Rejected: code ``already_exists`` when the name is taken.
        """
        answer = self._send("POST", "/services/create", body=spec, image=_image(spec))
        if answer.status == 409 and answer.uncertain:
            service = self.service(spec["Name"])
            if (service["Spec"].get("Labels") or {}) == (spec.get("Labels") or {}):
                return service["ID"]
        body = self._checked(answer)
        self._warn(body)
        return body["ID"]

    def update_service(self, service: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        """Replace the whole definition of a ``service`` as it was read.

        :raises Rejected: code ``version_conflict`` when it has changed since.
        """
        query = {"version": service["Version"]["Index"]}
        answer = self._send(
            "POST", f"/services/{quote(service['ID'])}/update", query=query, body=spec, image=_image(spec)
        )
        self._warn(self._checked(answer))

    def change_service(self, name: str, change: Callable[[Json], Json | None]) -> bool:
        """Replace the definition by ``change(service)``; ``None`` leaves it. Return whether it was replaced.

        ``change`` is asked again with the service as it is then, when somebody else has changed it meanwhile.
        """
        attempt = 1
        while True:
            service = self.service(name)
            wanted = change(deepcopy(service))
            if wanted is None:
                return False
            try:
                self.update_service(service, wanted)
            except Rejected as error:
                if error.code != "version_conflict" or attempt == _ATTEMPTS:
                    raise
            else:
                return True
            self._context.sleep(0.05 * attempt)
            attempt += 1

    def remove_service(self, name: str) -> bool:
        """Remove a service; return whether there was one."""
        try:
            service = self.service(name)
        except NotFound:
            return False
        return self._removed(self._send("DELETE", f"/services/{quote(service['ID'])}"))

    def tasks(self, service_name: str, up_to_date: bool = False) -> list[Json]:
        """The tasks of a service, those of its history too; or only those of its present definition.

        Up to date is what Docker's own command line takes for it when it waits (filter ``_up-to-date``).
        """
        filters = {"service": [service_name], **({"_up-to-date": ["true"]} if up_to_date else {})}
        return self._get("/tasks", filters=filters)

    # Nodes

    def nodes(self) -> dict[str, Json]:
        """The nodes by id."""
        return {node["ID"]: node for node in self._get("/nodes")}

    # Configs

    def configs(self, labels: Mapping[str, str] | None = None, *, name: str | None = None) -> list[Json]:
        """The configs that carry all ``labels``, with exactly this ``name`` where one is given."""
        filters: dict[str, list[str]] = {}
        if labels:
            filters["label"] = [f"{key}={value}" for key, value in labels.items()]
        if name is not None:
            filters["name"] = [name]
        found = self._get("/configs", filters=filters)
        return [config for config in found if name is None or _name(config) == name]

    def create_config(self, name: str, labels: Mapping[str, str], data: bytes) -> str:
        """Create a config and return its id. Names are unique in a swarm: of two who create one, one is refused.

        ``data`` may not be empty.

        :raises Rejected: code ``already_exists`` when the name is taken.
        """
        spec = {"Name": name, "Labels": dict(labels), "Data": base64.b64encode(data).decode()}
        answer = self._send("POST", "/configs/create", body=spec)
        if answer.status == 409 and answer.uncertain:
            for config in self.configs(name=name):
                if (config["Spec"].get("Labels") or {}) == dict(labels):
                    return config["ID"]
        return self._checked(answer)["ID"]

    def label_config(self, config: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Replace the labels of a ``config`` as it was read; nothing else of it can be changed.

        :raises Rejected: code ``version_conflict`` when it has changed since.
        """
        query = {"version": config["Version"]["Index"]}
        spec = {**config["Spec"], "Labels": dict(labels)}
        self._checked(self._send("POST", f"/configs/{quote(config['ID'])}/update", query=query, body=spec))

    def remove_config(self, config_id: str) -> bool:
        """Remove a config by its id, so never a later one of the same name; return whether there was one."""
        return self._removed(self._send("DELETE", f"/configs/{quote(config_id)}"))

    # Images

    def image_digest(self, image: str) -> str | None:
        """The digest (``sha256:…``) that the image's registry has for it; ``None`` where the registry does not tell.

        An engine without access to the registry, an image that is on the nodes only, or one that does not exist.
        """
        try:
            answer = self._send("GET", f"/distribution/{quote(image, safe='/:@')}/json", image=image, patient=False)
        except Unreachable:  # the engine waits for the registry as long as that does not answer
            return None
        if answer.status != 200:
            return None
        return (answer.body.get("Descriptor") or {}).get("digest")

    # How it is asked

    def _get(self, path: str, *, filters: Mapping[str, Sequence[str]] | None = None) -> Any:
        query = {"filters": json.dumps(filters)} if filters else None
        return self._checked(self._send("GET", path, query=query)) or []

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        image: str | None = None,
        patient: bool = True,
    ) -> _Answer:
        """Ask one manager after the other until one answers for the swarm, for ``retry_timeout`` seconds.

        ``image``: the credentials of its registry are sent along, where this user is logged in to it.
        ``patient=False``: each manager is asked once.
        """
        deadline = self._context.now() + (self._retry_timeout if patient else 0)
        request, pause, uncertain = f"{method} {path}", _FIRST_PAUSE, False
        while True:
            failures: dict[str, str] = {}
            managers_seen = False
            for url in list(self._urls):
                try:
                    engine, version = self._engine(url)
                except _NoManager as error:
                    failures[url] = str(error)
                    continue
                except _Failed as error:
                    failures[url], managers_seen = str(error), True
                    continue
                managers_seen = True
                try:
                    answer = self._once(engine, url, method, f"/v{version}{path}", request, query, body, image)
                except _Failed as error:
                    self._forget(url)
                    failures[url], uncertain = str(error), True
                    continue
                if answer.status >= 500 and not path.startswith("/distribution/") and _cannot_answer(answer):
                    self._forget(url)
                    failures[url], uncertain = answer.said, True
                    continue
                self._urls.remove(url)
                self._urls.insert(0, url)
                if method != "GET" and answer.status < 300:
                    self._context.changes.append(request)
                return _Answer(answer.url, request, answer.status, answer.body, uncertain)
            told = "; ".join(f"{url}: {why}" for url, why in failures.items())
            if not managers_seen:
                raise Rejected(
                    "no_manager",
                    f"None of these engines is a manager of an active swarm: {told}",
                    system=self._urls[0],
                    request=request,
                )
            left = deadline - self._context.now()
            if left <= 0:
                raise Unreachable(
                    "unreachable",
                    f"No manager of the swarm answered {request}: {told}",
                    system=self._urls[0],
                    request=request,
                )
            self._context.progress(f"No manager of the swarm answers ({told}); asked again for {left:.0f} s")
            self._context.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _engine(self, url: str) -> tuple[Any, str]:
        """The session of an engine that is known to be a manager, and the version of its API.

        :raises _NoManager: it answered that it is none.
        :raises _Failed: it did not answer, or not for the swarm.
        """
        if url not in self._engines:
            with _failing():
                engine = self._open(url)
            self._engines[url] = (engine, _OLDEST_API)
            try:
                told = self._once(engine, url, "GET", "/version", "GET /version", None, None, None)
                version = told.body.get("ApiVersion") if isinstance(told.body, Mapping) else None
                if told.status != 200 or not version:
                    raise _Failed(f"GET /version answered {told.status}: {told.said}")
                # Only the leader can answer this one, so a manager that is cut off from the others is found out.
                swarm = self._once(engine, url, "GET", f"/v{version}/swarm", "GET /swarm", None, None, None)
            except _Failed:
                self._forget(url)
                raise
            if swarm.status != 200:
                self._forget(url)
                raise (_NoManager if _NO_MANAGER.search(swarm.said) else _Failed)(swarm.said.partition(". ")[0])
            self._engines[url] = (engine, version)
        return self._engines[url]

    def _once(
        self,
        engine: Any,
        url: str,
        method: str,
        path: str,
        request: str,
        query: Mapping[str, Any] | None,
        body: Any,
        image: str | None,
    ) -> _Answer:
        self.sent += 1
        headers = {}
        if image is not None:
            credentials = get_config_header(engine, resolve_repository_name(_repository(image))[0])
            if credentials:
                headers["X-Registry-Auth"] = credentials
        with _failing():
            answer = engine.request(
                method,
                engine.base_url + path,
                params=query,
                json=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
            text = answer.text
        try:
            content = json.loads(text) if text.strip() else None
        except ValueError:
            content = text[:200].strip()
            if answer.status_code < 300:
                raise _Failed(f"{request} answered {answer.status_code} with a body that is no JSON") from None
        return _Answer(url, request, answer.status_code, content, uncertain=False)

    def _forget(self, url: str) -> None:
        engine, _version = self._engines.pop(url)
        engine.close()

    def _checked(self, answer: _Answer) -> Any:
        if answer.status < 300:
            return answer.body
        place = {"system": answer.url, "request": answer.request, "status": answer.status}
        head = f"The swarm manager at {answer.url} answered {answer.request} with {answer.status}: {answer.said}"
        if answer.status == 404:
            raise NotFound("not_found", head, **place)
        if _SEQUENCE in answer.said:
            raise Rejected("version_conflict", head, **place)
        raise Rejected("already_exists" if answer.status == 409 else "rejected", head, **place)

    def _removed(self, answer: _Answer) -> bool:
        if answer.status == 404:
            return answer.uncertain
        self._checked(answer)
        return True

    def _warn(self, body: Any) -> None:
        warnings = (body or {}).get("Warnings") or (body or {}).get("Warning") or []
        for text in [warnings] if isinstance(warnings, str) else warnings:
            self._context.warn(f"Docker: {text}")


def _cannot_answer(answer: _Answer) -> bool:
    """Whether this engine does not speak for the swarm at the moment."""
    return bool(_NO_MANAGER.search(answer.said) or _AILING.search(str(answer.body)))


@contextmanager
def _failing() -> Iterator[None]:
    """Give everything that a transport can raise one name."""
    try:
        yield
    except (requests.exceptions.RequestException, HTTPError, DockerException, SSHException, OSError) as error:
        raise _Failed(_cause(error)) from None


def _cause(error: BaseException) -> str:
    """The innermost words of an error of ``requests``, without the objects that it wraps."""
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


if HAS_DOCKER:

    class _NamedHost(HTTPAdapter):
        """TLS with a certificate for another name than that of the address."""

        def __init__(self, hostname: str) -> None:
            self._hostname = hostname
            super().__init__()

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, assert_hostname=self._hostname, server_hostname=self._hostname)


def _name(thing: Mapping[str, Any]) -> str:
    return thing["Spec"]["Name"]


def _image(spec: Mapping[str, Any]) -> str | None:
    return ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image")


def _repository(image: str) -> str:
    """An image without its tag and digest: ``resolve_repository_name`` takes no more."""
    bare = image.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    return head + slash + last.partition(":")[0]
