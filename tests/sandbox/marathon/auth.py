# Copyright (c) 2026, the zdd.rollout contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may ask: HTTP basic authentication (``--http_credentials``) or a token of DC/OS's login."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from tests.sandbox.marathon.errors import ApiError, refused
from tests.sandbox.marathon.exchange import Ask, Reply

LOGIN = "/acs/api/v1/auth/login"
USERS = "/acs/api/v1/users/"
TOKEN_LIFE = 432000  # s, five days as in DC/OS
UNSURE = {"message": "Invalid username or password."}


def _part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Basic:
    """Every path wants the one user and password."""

    def __init__(self, credentials: str) -> None:
        self._wanted = b"Basic " + base64.b64encode(credentials.encode())

    def refusal(self, _path: str, headers: Mapping[str, str]) -> Reply | None:
        given = headers.get("Authorization", "").encode("utf-8", "replace")
        if hmac.compare_digest(given, self._wanted):
            return None
        page = b"<html><body><h2>HTTP ERROR: 401</h2><p>Unauthorized</p></body></html>"
        return Reply(401, page, {"WWW-Authenticate": 'Basic realm="Mesosphere"', "Content-Type": "text/html"})

    def expire(self) -> None:
        """Passwords do not expire."""


class Dcos:
    """``/acs`` gives out tokens, everything else wants one.

    A service account whose public key was registered (``PUT /acs/api/v1/users/{uid}`` with ``public_key``, PEM)
    has to sign with the matching key; of others only the form of their token is checked.
    """

    def __init__(self, credentials: str | None) -> None:
        self._user = tuple(credentials.split(":", 1)) if credentials else None
        self._keys: dict[str, str] = {}
        self._tokens: dict[str, float] = {}

    def refusal(self, path: str, headers: Mapping[str, str]) -> Reply | None:
        if path.startswith("/acs/"):
            return None
        scheme, _separator, token = headers.get("Authorization", "").partition("=")
        if scheme.strip() == "token" and self._tokens.get(token.strip(), 0.0) > time.time():
            return None
        return Reply(401, UNSURE, {"WWW-Authenticate": 'acsjwt realm="localhost"'})

    def expire(self) -> None:
        self._tokens.clear()

    def answer(self, ask: Ask) -> Reply:
        """The login and the accounts."""
        try:
            raw = ask.json()
            if not isinstance(raw, dict):
                raise refused(400, "Invalid JSON")
            if ask.method == "POST" and ask.path == LOGIN:
                return self._login(raw)
            if ask.method == "PUT" and ask.path.startswith(USERS):
                self._keys[ask.path[len(USERS) :]] = str(raw["public_key"])
                return Reply(201)
            raise refused(404, "Not found")
        except ApiError as error:
            return Reply(error.status, error.body)

    def _login(self, raw: dict[str, Any]) -> Reply:
        uid = raw.get("uid")
        if not isinstance(uid, str) or not (self._password_fits(uid, raw) or self._token_fits(uid, raw)):
            return Reply(401, UNSURE)
        now = time.time()
        head, body = ({"alg": "HS256", "typ": "JWT"}, {"uid": uid, "exp": int(now + TOKEN_LIFE)})
        parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (head, body)]
        token = ".".join([*parts, secrets.token_urlsafe(32)])
        self._tokens[token] = now + TOKEN_LIFE
        return Reply(body={"token": token})

    def _password_fits(self, uid: str, raw: dict[str, Any]) -> bool:
        password = raw.get("password")
        if not isinstance(password, str) or not password:
            return False
        return self._user is None or self._user == (uid, password)

    def _token_fits(self, uid: str, raw: dict[str, Any]) -> bool:
        token = raw.get("token")
        if not isinstance(token, str) or token.count(".") != 2:
            return False
        head, body, signature = token.split(".")
        try:
            header, claims = json.loads(_part(head)), json.loads(_part(body))
            signed = _part(signature)
        except (ValueError, binascii.Error):
            return False
        if header.get("alg") != "RS256" or claims.get("uid") != uid or len(signed) < 128:
            return False
        if "exp" in claims and claims["exp"] < time.time():
            return False
        return uid not in self._keys or _signature_fits(self._keys[uid], f"{head}.{body}".encode(), signed)


def _signature_fits(public_key: str, message: bytes, signature: bytes) -> bool:
    # Only whoever registers a key needs the library.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(signature, message, PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
