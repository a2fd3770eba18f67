"""Where a server is: an option, else the environment's redirections, else OpenAI itself.

The `openai` client follows OPENAI_BASE_URL by itself, VLMEvalKit OPENAI_API_BASE (which names the whole path, ending in
`/chat/completions`). Both are followed here and nowhere else, so that what is recorded is what was asked.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies, proxy_bypass

from benchmarks.errors import UserError
from benchmarks.redaction import redact

OPENAI = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
AZURE_HOSTS = (".azure.com",)
REDIRECTIONS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
KEY_NAME = "OPENAI_API_KEY"
HEADER_VARIABLES = (KEY_NAME, "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
"""What the client puts into headers."""
PATH = "/v1"
CHAT = "/chat/completions"
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, kw_only=True)
class Address:
    """`url` may hold a password and is for the client alone; `shown` is for everybody else.

    `given_by`: the option or variable that named it. `assumed`: no path was given, and /v1 taken.
    """

    url: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False, default_factory=dict)
    shown: str
    given_by: str
    assumed: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.shown).hostname or ""

    @property
    def netloc(self) -> str:
        return urlsplit(self.shown).netloc

    @property
    def is_openai(self) -> bool:
        """OpenAI's own host or one of its regions, and TLS vouches for it."""
        ours = self.host == OPENAI_HOST or self.host.endswith(f".{OPENAI_HOST}")
        return ours and self.shown.startswith("https:")

    @property
    def is_azure(self) -> bool:
        return self.host.endswith(AZURE_HOSTS)

    @property
    def server(self) -> str | None:
        """For records and cache keys: None is OpenAI itself."""
        return None if self.shown == OPENAI else self.shown

    @property
    def proxy(self) -> str | None:
        """What stands between, as the environment says."""
        proxies = getproxies()
        proxy = proxies.get(urlsplit(self.shown).scheme) or proxies.get("all")
        return redact(_with_scheme(proxy)) if proxy and not proxy_bypass(self.netloc) else None


def find_address(given: str | None, option: str) -> Address:
    """The address that `option` gives, else the environment's, else OpenAI's.

    Raises:
        UserError: it is none, or two variables name different servers.
    """
    if given is not None:
        return read_address(given, option)
    texts = {name: os.environ.get(name, "").strip() for name in REDIRECTIONS}
    found = [read_address(OPENAI if text == "OFFICIAL" else text, name) for name, text in texts.items() if text]
    if len({address.shown for address in found}) > 1:
        raise UserError(
            f"{REDIRECTIONS[0]} names {found[0].shown} and {REDIRECTIONS[1]} {found[1].shown}; "
            f"say which is meant with {option}"
        )
    return found[0] if found else Address(url=OPENAI, shown=OPENAI, given_by="the default")


def read_address(text: str, option: str) -> Address:
    """From `http://host:8000`, `.../v1`, `.../v1/chat/completions`, with or without a user and a query.

    Raises:
        UserError: it is no address.
    """
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable or not text.strip().isprintable() or " " in text.strip():
        raise UserError(f"{option}: the base URL is {redact(text)!r}, expected one like http://localhost:8000/v1")
    host = parts.netloc.rpartition("@")[2].lower()
    path = parts.path.rstrip("/").removesuffix(CHAT).rstrip("/")
    rest = path or PATH
    return Address(
        url=f"{parts.scheme}://{parts.netloc}{rest}",
        query=dict(parse_qsl(parts.query)),
        shown=f"{parts.scheme}://{host}{rest}",
        given_by=option,
        assumed=not path,
    )


def check_environment() -> None:
    """What the client would stumble over with a traceback: headers of other than ASCII, proxies it cannot use.

    Raises:
        UserError: names the variable.
    """
    for name in HEADER_VARIABLES:
        value = os.environ.get(name, "").strip()
        if not (value.isascii() and value.isprintable()):
            position = next(n for n, letter in enumerate(value, 1) if not (letter.isascii() and letter.isprintable()))
            raise UserError(f"{name} cannot be sent: its character {position} is none that a key is made of")
    for kind, proxy in getproxies().items():
        if kind not in ("http", "https", "all"):
            continue
        scheme = _with_scheme(proxy).partition("://")[0].lower()
        shown = f"the proxy {redact(_with_scheme(proxy))} ({kind.upper()}_PROXY)"
        if scheme not in PROXY_SCHEMES or not _has_host(_with_scheme(proxy)):
            raise UserError(f"{shown} cannot be used; expected one like http://host:3128 or socks5://host:1080")
        if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise UserError(f"{shown} needs the package socksio, which is not installed; pip install socksio")


def _with_scheme(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
