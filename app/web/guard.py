"""What keeps strangers out of the viewer: other hosts' names, other sites' forms, whoever lacks the token.

A page may load only what this server sends (Content-Security-Policy), a change needs the page's own secret and comes
from the page's own address, and where a token is set nothing but the door is shown without it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DOOR = "/enter"
ASSETS = "/assets/"
COOKIE = "psyllm_view"
LONGEST_FORM = 64_000
"""Bytes of a form."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # same-origin: with no-referrer a browser would send `Origin: null` with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Secrets:
    """The secrets of one viewer process."""

    def __init__(self, token: str) -> None:
        self.token = token
        """What a visitor must know; empty if anybody who reaches the server may read."""
        self._key = secrets.token_bytes(32)

    @property
    def form(self) -> str:
        """What a form of ours carries, and no other site can read."""
        return self._signed("form")

    @property
    def visit(self) -> str:
        """What the cookie of a visitor who knew the token holds."""
        return self._signed("visit")

    def admits(self, request: Request) -> bool:
        return not self.token or hmac.compare_digest(request.cookies.get(COOKIE, ""), self.visit)

    def knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _signed(self, what: str) -> str:
        return hmac.new(self._key, what.encode(), hashlib.sha256).hexdigest()


async def posted(request: Request, own: Secrets) -> Mapping[str, str]:
    """The fields of one of our own forms. Raises HTTPException 403 for a form from elsewhere, 413 for a huge one."""
    if request.headers.get("origin") != f"{request.url.scheme}://{request.headers.get('host')}":
        raise HTTPException(403, "The form came from another address. Open the page again and repeat the change.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, f"The form holds more than {LONGEST_FORM // 1000} kB.")
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if not hmac.compare_digest(fields.pop("form", "").encode(), own.form.encode()):
        raise HTTPException(403, "The page is older than the viewer. Open it again and repeat the change.")
    return fields


class Guard:
    """Puts the headers on every answer, and shows the door to whoever lacks the token."""

    def __init__(self, app: ASGIApp, own: Secrets) -> None:
        self.app = app
        self.own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        path = scope["path"]
        if path == DOOR or path.startswith(ASSETS) or self.own.admits(Request(scope)):
            await self.app(scope, receive, send_guarded)
        else:
            await RedirectResponse(DOOR, 303)(scope, receive, send_guarded)
