"""The viewer as a Starlette application, and the server that it runs in."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from app.web.guard import ASSETS, Guard, is_loopback
from app.web.render import HERE
from app.web.site import Site
from app.web.views import Views
from psyllm.errors import PsyllmError, UsageError

LOOPBACK_NAMES = ["127.0.0.1", "localhost", "[::1]", "::1"]


def application(site: Site, host: str) -> Starlette:
    """On a loopback address only its own names are answered, so that no other site's name can be bound to it."""
    views = Views(site)
    names = LOOPBACK_NAMES if is_loopback(host) else ["*"]
    return Starlette(
        routes=[*views.routes(), Mount(ASSETS.rstrip("/"), StaticFiles(directory=HERE / "assets"))],
        middleware=[
            Middleware(Guard, own=site.secrets),
            Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),
        ],
        exception_handlers=dict.fromkeys((PsyllmError, 403, 404, 405, 413), views.error),
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes visitors. Raises UsageError if the address is taken, or not this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}", hint="--port 0 takes any that is free"
        ) from error


def serve(site: Site, host: str, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    config = uvicorn.Config(
        application(site, host),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])
