"""Whom a server of pages answers: this machine alone, or who has its token; never a page from elsewhere."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from benchmarks.errors import UserError

HOST = "127.0.0.1"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
COOKIE = "aki-token"

Header = Callable[[str, str], str]
"""(name in lower case, what stands for a missing one) -> its value."""


def new_token() -> str:
    return secrets.token_urlsafe(18)


def check_host(host: str) -> None:
    """Raises UserError where --host is empty."""
    if not host.strip():
        raise UserError("--host: it is empty; expected an address, such as 127.0.0.1 or 0.0.0.0")


def has_token(query: str, token: str | None) -> bool:
    """Whether an address brings the token behind its question mark, from where it moves into a cookie."""
    return token is not None and _same(parse_qs(query).get("token", [""])[0], token)


def cookie(token: str | None) -> str:
    """The value of Set-Cookie that keeps the token, out of sight of the next pages."""
    return f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"


def is_let_in(header: Header, token: str | None) -> bool:
    """By name of the host on this machine; from elsewhere by the token, which no foreign page can know.

    A foreign page that points its own name at this address asks with that name as Host.
    """
    if token is None:
        return header("host", "").rpartition(":")[0] in {HOST, "localhost"}
    try:
        found = SimpleCookie(header("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return found is not None and _same(found.value, token)


def asked_by_itself(header: Header) -> bool:
    """By the own page, or by a person: typed, or a link followed in a window of its own. No header: no browser.

    A page that includes what is served, such as the report's data, which are scripts, says so in Sec-Fetch-Site.
    """
    site = header("sec-fetch-site", "none")
    follows_link = header("sec-fetch-mode", "") == "navigate" and header("sec-fetch-dest", "") == "document"
    return site in ("same-origin", "none") or follows_link


def for_whom(token: str | None) -> str:
    """What those who are not let in are told."""
    return "127.0.0.1 only" if token is None else "those with its token: open the address as printed"


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
