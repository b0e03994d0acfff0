"""Who asks: a visitor is whoever holds a key; what the disk knows of him is the key's hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from studio.server.answers import Refusal

COOKIE = "studio-visitor"
HEADER = "x-studio-visitor"
KEY = re.compile(r"[A-Za-z0-9_~+=-]{16,200}")
"""A key: long enough not to be guessed."""


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(32)


def folder_of(key: str) -> str:
    """Return the name of a visitor's folder, which does not tell the key."""
    return hashlib.sha256(f"studio visitor {key}".encode()).hexdigest()[:32]


def key_in(headers: Mapping[str, str]) -> str:
    """Return the key that a request brings, "" without one.

    Where a password is asked for, too, HTTP's basic scheme brings both: the key is the name.

    Raises:
        Refusal: if it brings one that is none.
    """
    scheme, _, value = headers.get("authorization", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else ""
    for given in (headers.get(HEADER, ""), bearer):
        if given and not KEY.fullmatch(given):
            raise Refusal(
                422, "this is no key.", allowed="16 to 200 letters, digits and any of _ ~ + = -"
            )
    name = _basic(headers)[0].decode(errors="replace")
    for given in (headers.get(HEADER, ""), bearer, name):
        if KEY.fullmatch(given):
            return given
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None and KEY.fullmatch(morsel.value) else ""


def cookie(key: str) -> str:
    """Return the header that leaves a key with a browser."""
    return f"{COOKIE}={key}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict"


def knows(password: str, headers: Mapping[str, str]) -> bool:
    """Whether a request brings the password, by HTTP's basic scheme; any name goes with it."""
    return hmac.compare_digest(_basic(headers)[1], password.encode())


def _basic(headers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Name and password of HTTP's basic scheme, empty without them."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    try:
        decoded = (
            base64.b64decode(value.strip(), validate=True) if scheme.lower() == "basic" else b""
        )
    except (binascii.Error, ValueError):
        decoded = b""
    name, _, password = decoded.partition(b":")
    return name, password
