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
    """Return the key that a request brings, "" without one."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    for given in (headers.get(HEADER, ""), value.strip() if scheme.lower() == "bearer" else ""):
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
    scheme, _, value = headers.get("authorization", "").partition(" ")
    try:
        decoded = (
            base64.b64decode(value.strip(), validate=True) if scheme.lower() == "basic" else b""
        )
    except (binascii.Error, ValueError):
        decoded = b""
    return hmac.compare_digest(decoded.partition(b":")[2], password.encode())
