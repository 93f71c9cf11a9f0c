# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in to DC/OS and get the token that its Marathon wants.

``POST {dcos_url}/acs/api/v1/auth/login`` takes ``{"uid", "password"}`` of a user, or of a service account
``{"uid", "token"}`` where the token is a JSON web token signed with the account's RSA key (RS256); the answer is
``{"token"}``, sent from then on as ``Authorization: token=...``.
"""

from __future__ import annotations

import base64
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

try:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding
except ImportError:
    HAS_CRYPTOGRAPHY = False
    CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    HAS_CRYPTOGRAPHY = True
    CRYPTOGRAPHY_ERROR = None

from .._errors import InvalidInput, OperationError, Rejected
from .._http import Http, Tls
from .._invocation.context import Context

LOGIN_PATH = "/acs/api/v1/auth/login"

_VALID_FOR = 300


@dataclass(frozen=True)
class Account:
    """Who logs in, and where: ``url`` is the whole address of the login; one of the two secrets is set."""

    url: str
    uid: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Account | None:
        """Read the ``dcos_...`` options; ``None`` when none of them is given.

        :raises InvalidInput: they are incomplete.
        """
        account = params["dcos_service_account"]
        if account:
            return cls._of_service(account, params["dcos_url"])
        if not params["dcos_username"] and not params["dcos_password"]:
            return None
        for option in ("dcos_url", "dcos_username", "dcos_password"):
            if not params[option]:
                raise InvalidInput("invalid_option", f"The login to DC/OS needs the option {option} too.")
        return cls(_login_url(params["dcos_url"]), params["dcos_username"], password=params["dcos_password"])

    @classmethod
    def _of_service(cls, account: Mapping[str, Any], dcos_url: str | None) -> Account:
        url = account.get("login_endpoint") or (_login_url(dcos_url) if dcos_url else None)
        missing = [key for key in ("uid", "private_key") if not account.get(key)]
        if not url:
            missing.append("login_endpoint (or the option dcos_url)")
        if missing:
            raise InvalidInput("invalid_option", f"Option dcos_service_account lacks {' and '.join(missing)}.")
        return cls(url, account["uid"], private_key=account["private_key"])


def _login_url(dcos_url: str) -> str:
    return dcos_url.rstrip("/") + LOGIN_PATH


def login(account: Account, context: Context, *, tls: Tls, timeout: float, retry_timeout: float) -> str:
    """Return a fresh token.

    :raises Rejected: DC/OS refuses the account.
    :raises Unreachable: DC/OS does not answer.
    """
    parts = urlsplit(account.url)
    base = f"{parts.scheme}://{parts.netloc}"
    body = {"uid": account.uid}
    if account.private_key:
        body["token"] = signed_token(account.uid, account.private_key, time.time() + _VALID_FOR)
    else:
        body["password"] = account.password or ""
    with Http("DC/OS", [base], context, tls=tls, timeout=timeout, retry_timeout=retry_timeout) as http:
        answer = http.send("POST", account.url[len(base) :], body=body)
        token = answer.json().get("token") if answer.status == 200 else None
    if not token:
        raise Rejected(
            "not_authorized",
            f"DC/OS at {base} refuses the login of {account.uid} (status {answer.status}); "
            "check dcos_username and dcos_password, or dcos_service_account.",
            system=base,
            request=answer.request,
            status=answer.status,
        )
    return token


def signed_token(uid: str, private_key: str, expires: float) -> str:
    """Return a JSON web token (RFC 7519) of ``{"uid", "exp"}`` signed by RS256; ``expires`` in seconds since the epoch.

    :raises InvalidInput: the key cannot be read.
    """
    if not HAS_CRYPTOGRAPHY:
        raise OperationError(
            "missing_library",
            "Option dcos_service_account needs the Python library cryptography on the host that runs this task.",
        )
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        raise InvalidInput(
            "invalid_option", "Option dcos_service_account: private_key is no unencrypted RSA key in PEM form."
        ) from None
    claims = {"uid": uid, "exp": int(expires)}
    signed = f"{_segment({'alg': 'RS256', 'typ': 'JWT'})}.{_segment(claims)}"
    return f"{signed}.{_base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _segment(data: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(data, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
