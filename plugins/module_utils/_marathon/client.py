# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marathon's REST API v2: one method per call, no decisions, plain data in and out.

Which calls may be sent again when no answer came, and why (all but :meth:`Marathon.restart_app`, and
:meth:`Marathon.kill_and_scale`, which looks first whether it was applied):

* reading changes nothing;
* ``PUT`` carries absolute values, and what is so already is an empty plan, which Marathon accepts even while our own
  first attempt locks the app;
* ``DELETE`` of an app or a deployment, repeated, answers 404, which then means that the first attempt was applied;
* tasks are killed by id, and an id that is gone is ignored. To kill and scale is another matter: a
  task that is dying lowers the count once more;
* ``POST`` of an app, repeated, answers that it exists or that it is locked; the app is read then, and it is ours when
  its definition is the one that was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ansible.module_utils.basic import env_fallback

from .._errors import InvalidInput, Locked, NotFound, OperationError, Rejected, Unreachable
from .._http import TLS_SPEC, Answer, Http, Tls
from .._invocation.context import Context
from .dcos import Account, login
from .definitions import app_path, differences

MARATHON_SPEC: dict[str, Any] = {
    "marathon_url": {
        "type": "list",
        "elements": "str",
        "required": True,
        "fallback": (env_fallback, ["MARATHON_URL"]),
    },
    "url_username": {"type": "str", "fallback": (env_fallback, ["MARATHON_USERNAME"])},
    "url_password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MARATHON_PASSWORD"])},
    "auth_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["MARATHON_TOKEN"])},
    "dcos_url": {"type": "str", "fallback": (env_fallback, ["DCOS_URL"])},
    "dcos_username": {"type": "str", "fallback": (env_fallback, ["DCOS_USERNAME"])},
    "dcos_password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["DCOS_PASSWORD"])},
    "dcos_service_account": {
        "type": "dict",
        "no_log": True,
        "fallback": (env_fallback, ["DCOS_SERVICE_ACCOUNT_CREDENTIAL"]),
    },
    **TLS_SPEC,
}

APPS_EMBED = ("apps.tasks", "apps.counts", "apps.deployments", "apps.readiness", "apps.lastTaskFailure")
APP_EMBED = ("app.tasks", "app.counts", "app.deployments", "app.readiness", "app.lastTaskFailure")

# A stream without a line for this long (s) is taken for dead; Marathon sends an empty line every few seconds.
_SILENT_STREAM = 120.0
# Seconds before it is asked whether a request that got no answer was applied; doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


class Marathon:
    """The members of one Marathon cluster, asked in turn until one answers.

    All methods raise ``Unreachable`` when nobody answers, ``Rejected`` with the code ``not_authorized`` for refused
    credentials, ``NotFound`` for an app, a deployment or a version that does not exist, ``Locked`` with the ids of the
    deployments in ``detail`` when a running deployment holds the app, and ``Rejected`` with the code ``rejected`` and
    Marathon's errors by path for anything else that it does not accept. Methods that change something return the id
    of the deployment that does it, ``None`` where there is none.
    """

    def __init__(self, http: Http, context: Context, account: Account | None = None, tls: Tls | None = None) -> None:
        self._http = http
        self._context = context
        self._account = account
        self._tls = tls or Tls()
        self._logged_in = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any], context: Context) -> Marathon:
        """Read the options of ``MARATHON_SPEC``; nothing is sent yet.

        :raises InvalidInput: they do not fit together.
        """
        if not params["marathon_url"]:
            raise InvalidInput(
                "invalid_option", "Option marathon_url: no address is given; one is like http://host:8080."
            )
        urls, auth = _without_credentials(params["marathon_url"])
        if params["url_username"] is not None:
            auth = (params["url_username"], params["url_password"] or "")
        elif params["url_password"] is not None:
            raise InvalidInput("invalid_option", "Option url_password needs the option url_username beside it.")
        account = Account.from_params(params)
        token = params["auth_token"]
        if sum(given is not None for given in (auth, account, token)) > 1:
            raise InvalidInput(
                "invalid_option",
                "Give one kind of login: url_username and url_password, auth_token, or the dcos_ options.",
            )
        tls = Tls.from_params(params)
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"token={token}"
        http = Http(
            "Marathon",
            urls,
            context,
            timeout=params["timeout"],
            retry_timeout=params["retry_timeout"],
            tls=tls,
            auth=auth,
            headers=headers,
        )
        return cls(http, context, account, tls)

    def __enter__(self) -> Marathon:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.__exit__(*exception)

    @property
    def url(self) -> str:
        """The address of the member that is asked first."""
        return self._http.urls[0]

    @property
    def context(self) -> Context:
        """How the operation that asks is run."""
        return self._context

    @property
    def requests(self) -> int:
        """How many requests were sent to Marathon, repetitions and event streams included."""
        return self._http.sent

    @contextmanager
    def blamed(self, *, changed: bool) -> Iterator[None]:
        """Let an error inside the block say which Marathon it is about, and that something was ``changed`` before."""
        try:
            yield
        except OperationError as error:
            error.system = error.system or self.url
            error.changed = error.changed or changed
            raise

    # Apps

    def apps(self, *, label: str | None = None, embed: Sequence[str] = APPS_EMBED) -> list[dict[str, Any]]:
        """All apps, or those that a label selector (``a==b,c``) matches."""
        query: dict[str, Any] = {"embed": list(embed)}
        if label is not None:
            query["label"] = label
        return self._json("GET", "/v2/apps", query=query)["apps"]

    def app(self, app_id: str, embed: Sequence[str] = APP_EMBED) -> dict[str, Any]:
        """One app."""
        return self._json("GET", _app(app_id), query={"embed": list(embed)})["app"]

    def create_app(self, definition: Mapping[str, Any], force: bool = False) -> dict[str, Any]:
        """Create an app and return it, its first deployment under ``deployments``.

        :raises Rejected: code ``already_exists`` when there is one with this id.
        """
        answer = self._send("POST", "/v2/apps", query=_flags(force=force), body=definition)
        if answer.status == 409 and answer.uncertain:
            app = self.app(definition["id"])
            if not differences(definition, app):
                return app
        return self._checked(answer).json()

    def update_app(
        self, app_id: str, fields: Mapping[str, Any], *, force: bool = False, partial: bool = True
    ) -> str | None:
        """Replace the given top-level fields, or with ``partial=False`` the whole definition."""
        query = _flags(force=force) | ({} if partial else {"partialUpdate": "false"})
        return _deployment(self._checked(self._send("PUT", _app(app_id), query=query, body=fields)))

    def scale_app(
        self, app_id: str, instances: int, force: bool = False, *, app: Mapping[str, Any] | None = None
    ) -> str | None:
        """Set the count, and nothing else.

        A partial update forgets ``executorResources`` and ``resourceLimits`` (a defect of Marathon 1.6 and 1.10 on),
        which would make a restart of it, so they are sent again. Give the ``app`` as read before to save a request.
        """
        app = self.app(app_id, embed=()) if app is None else app
        kept = {key: app[key] for key in ("executorResources", "resourceLimits") if app.get(key)}
        return self.update_app(app_id, {"instances": instances, **kept}, force=force)

    def delete_app(self, app_id: str, force: bool = True) -> str | None:
        """Remove an app with all its tasks."""
        return self._removed(self._send("DELETE", _app(app_id), query={"force": _flag(force)}))

    def restart_app(self, app_id: str, force: bool = False) -> str | None:
        """Replace all tasks by new ones. Not repeated after a lost answer: a second restart would restart again."""
        answer = self._send("POST", f"{_app(app_id)}/restart", query=_flags(force=force), repeatable=False)
        return _deployment(self._checked(answer))

    def versions(self, app_id: str) -> list[str]:
        """The times of the stored versions of an app, newest first."""
        return self._json("GET", f"{_app(app_id)}/versions")["versions"]

    def version(self, app_id: str, version: str) -> dict[str, Any]:
        """The definition of an app as it was in one of its versions."""
        return self._json("GET", f"{_app(app_id)}/versions/{quote(version, safe=':')}")

    # Tasks

    def tasks(self, app_id: str) -> list[dict[str, Any]]:
        """The tasks of an app."""
        return self._json("GET", f"{_app(app_id)}/tasks")["tasks"]

    def kill_tasks(self, ids: Iterable[str], *, force: bool = False, wipe: bool = False) -> str | None:
        """Kill tasks by id in one request; they are replaced. Marathon ignores unknown ids."""
        return _deployment(self._checked(self._kill(ids, _flags(force=force, wipe=wipe), repeatable=True)))

    def kill_and_scale(self, ids: Iterable[str], counts: Mapping[str, int], *, force: bool = False) -> str | None:
        """Kill tasks by id in one request, and want so many fewer. Marathon ignores unknown ids.

        ``counts`` are the instances of their apps before it, by app id: where no answer came, they tell whether it was
        applied.
        """
        ids, query = list(ids), _flags(scale=True, force=force)
        deadline = self._context.now() + self._http.retry_timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                return _deployment(self._checked(self._kill(ids, query, repeatable=False)))
            except Unreachable as error:
                left = deadline - self._context.now()
                if left <= 0:
                    raise
                self._context.progress(f"{error.message} (looking whether it was applied)")
                self._context.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
                if any(self._has_fewer(app_id, count) for app_id, count in counts.items()):
                    return None

    def _kill(self, ids: Iterable[str], query: Mapping[str, str], *, repeatable: bool) -> Answer:
        return self._send("POST", "/v2/tasks/delete", query=query, body={"ids": list(ids)}, repeatable=repeatable)

    def _has_fewer(self, app_id: str, count: int) -> bool:
        try:
            return self.app(app_id, embed=())["instances"] < count
        except NotFound:
            return True

    # Deployments and queue

    def deployments(self) -> list[dict[str, Any]]:
        """The deployments that run."""
        return self._json("GET", "/v2/deployments")

    def cancel_deployment(self, deployment_id: str, force: bool = False) -> str | None:
        """Undo a deployment by a new one, whose id is returned; with ``force`` end it where it is, undoing nothing."""
        return self._removed(
            self._send("DELETE", f"/v2/deployments/{quote(deployment_id, safe='')}", query=_flags(force=force))
        )

    def queue(self, embed: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What waits for offers or for the end of a back-off."""
        return self._json("GET", "/v2/queue", query={"embed": list(embed)} if embed else None)["queue"]

    def queue_of(self, app_id: str) -> dict[str, Any] | None:
        """The queue entry of one app."""
        wanted = app_path(app_id)
        return next((entry for entry in self.queue() if entry.get("app", {}).get("id") == wanted), None)

    # The rest

    def info(self) -> dict[str, Any]:
        """Version, leader and configuration."""
        return self._json("GET", "/v2/info")

    def open_events(self, types: Sequence[str]) -> Any:
        """An open event stream, a ``requests.Response`` to be closed by the caller.

        :raises Unreachable: there is none to be had now.
        """
        self._log_in()
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        query = {"plan-format": "light", "event_type": list(types)}
        return self._http.stream("/v2/events", query=query, headers=headers, idle=_SILENT_STREAM)

    def _json(self, method: str, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._checked(self._send(method, path, query=query)).json()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool = True,
    ) -> Answer:
        self._log_in()
        fields: dict[str, Any] = {
            "query": query or None,
            "body": body,
            "repeatable": repeatable,
            "answers_itself": _says_unknown_uri,
        }
        answer = self._http.send(method, path, **fields)
        if answer.status == 401 and self._account is not None:
            self._logged_in = False
            self._log_in()
            answer = self._http.send(method, path, **fields)
        if method != "GET" and 200 <= answer.status < 300:
            self._context.changes.append(answer.request)
        return answer

    def _log_in(self) -> None:
        if self._account is None or self._logged_in:
            return
        token = login(
            self._account,
            self._context,
            tls=self._tls,
            timeout=self._http.timeout,
            retry_timeout=self._http.retry_timeout,
        )
        self._http.set_header("Authorization", f"token={token}")
        self._logged_in = True

    def _removed(self, answer: Answer) -> str | None:
        if answer.status == 404 and answer.uncertain:
            return None
        return _deployment(self._checked(answer))

    def _checked(self, answer: Answer) -> Answer:
        if 200 <= answer.status < 300:
            return answer
        raise _refusal(answer)


def _app(app_id: str) -> str:
    return "/v2/apps" + quote(app_path(app_id), safe="/")


def _flags(**flags: bool) -> dict[str, str]:
    return {name: "true" for name, value in flags.items() if value}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _deployment(answer: Answer) -> str | None:
    """The header is there from Marathon 1.4 on, also where there is no body."""
    found = answer.headers.get("Marathon-Deployment-Id")
    if found is None and answer.text.strip():
        found = answer.json().get("deploymentId")
    return found


def _says_unknown_uri(answer: Answer) -> bool:
    """Marathon 1.8 and newer answer an unknown URI with 500; asking again would not help."""
    return answer.status == 500 and _body(answer).get("message") == "URI not found"


def _body(answer: Answer) -> dict[str, Any]:
    try:
        body = answer.json()
    except OperationError:
        return {}  # an error page in HTML, or nothing: the status has to do
    return body if isinstance(body, dict) else {}


def _refusal(answer: Answer) -> OperationError:
    """The error for an answer that is no success (shapes: reference B1)."""
    body = _body(answer)
    said = body.get("message") or " ".join(answer.text.split())[:200] or "no reason given"
    place = {"system": answer.system, "request": answer.request, "status": answer.status}
    head = f"Marathon at {answer.system} answered {answer.request} with {answer.status}: {said}"
    if answer.status == 401 or (answer.status == 403 and not said.startswith("Max number")):
        hint = "Check url_username and url_password, auth_token, or the dcos_ options."
        return Rejected("not_authorized", f"{head}. {hint}", **place)
    if answer.status == 404:
        return NotFound("not_found", head, **place)
    if answer.status == 409 and "deployments" in body:
        ids = [deployment["id"] for deployment in body["deployments"]]
        text = (
            f"Marathon at {answer.system} refuses {answer.request}: locked by deployment {', '.join(ids)}. "
            "Wait for its end, cancel it, or use force."
        )
        return Locked("app_locked", text, detail=ids, **place)
    code = "already_exists" if answer.status == 409 else "rejected"
    details = body.get("details")
    return Rejected(code, "\n".join([head, *_by_path(details)]), detail=details, **place)


def _by_path(details: Any) -> list[str]:
    if isinstance(details, str):
        return [details]
    return [f"{item.get('path', '/')}: {'; '.join(item.get('errors', []))}" for item in details or []]


def _without_credentials(urls: Sequence[str]) -> tuple[list[str], tuple[str, str] | None]:
    """Take ``user:password@`` out of addresses, so that it is in no message; the first one found is for all members."""
    bare, auth = [], None
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = url.rpartition("@")[2]
            raise InvalidInput("invalid_option", f"Option marathon_url: {shown} is no address like http://host:8080.")
        if parts.username is not None and auth is None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        bare.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/"))
    return bare, auth
