"""`psyllm view`: a run in the browser, served from this machine."""

from __future__ import annotations

from pathlib import Path

from app.screen import console, out
from psyllm.errors import UsageError

SHORTEST_TOKEN = 16
"""Characters."""


def view_command(folder: Path, host: str, port: int, token: str) -> None:
    """Serve until Ctrl-C. Raises UsageError for a missing run, a taken port, or an open door to other machines."""
    from app.web.guard import is_loopback
    from app.web.server import listen, serve
    from app.web.site import Site

    local = is_loopback(host)
    if not local and not token:
        raise UsageError(
            f"--host {host} lets other machines read the run",
            hint="set PSYLLM_VIEW_TOKEN (or --token), or keep to this machine and go through `ssh -L`",
        )
    if token and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"the token has {len(token)} characters, {SHORTEST_TOKEN} are the least", hint="openssl rand -hex 16"
        )
    site = Site(folder, token)
    try:
        listening = listen(host, port)
        name = f"[{host}]" if ":" in host else host
        out.print(f"{folder} is shown at http://{name}:{listening.getsockname()[1]}/", soft_wrap=True)
        if not local:
            console.print("plain http: whoever is on the way can read it; `ssh -L` is safer", style="yellow")
        console.print("Ctrl-C ends it", style="dim")
        serve(site, host, listening)
    except KeyboardInterrupt:
        console.print("the viewer has ended", style="dim")
    finally:
        site.close()
