"""The viewer's pages: the run, lists, search, one dialogue, two side by side, and what a person says of one.

Each reads what it shows and renders a template; a page that is asked again with `X-Live` answers with its live part
alone, or with 304 while nothing has changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.review import checked_label
from app.web.changes import changes
from app.web.guard import COOKIE, DOOR, posted
from app.web.overview import SEVERITIES, overview
from app.web.query import LABELS, Query
from app.web.reading import read
from app.web.render import templates
from app.web.site import Site
from psyllm.errors import NoMatch, UsageError
from psyllm.labels import Label
from psyllm.reasons import reason_codes
from psyllm.records import ROLES, Dialogue, Post, Status
from psyllm.runs.compare import compare
from psyllm.runs.find import END, START, Filter, Listed, find, modalities, models, search
from psyllm.runs.run import Run

PAGE = 50
"""Dialogues of a page of a list, and hits of a search."""
FAILURES = (Status.REJECTED, Status.FAILED)
REVIEWER = "psyllm_reviewer"
LONGEST_NAME = 80
REMEMBERED_S = 365 * 86400
_ID = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True)
class Way:
    """Where a dialogue stands in the list that one came from, and where its neighbours are."""

    number: int
    """1-based; 0 if the list does not hold it."""
    of: int
    before: str | None
    after: str | None
    failure: str | None
    """The next one that was rejected or failed."""


class Views:
    """The pages of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def routes(self) -> list[Route]:
        return [
            Route("/", self.run_page, name="run"),
            Route("/dialogues", self.list_page),
            Route("/search", self.search_page),
            Route("/compare", self.compare_page),
            Route("/d/{id}", self.dialogue_page),
            Route("/d/{id}/label", self.label, methods=["POST"]),
            Route(DOOR, self.door, methods=["GET", "POST"]),
        ]

    # -------------------------------------------------------- pages

    def run_page(self, request: Request) -> Response:
        def data(run: Run) -> Mapping[str, object]:
            return {"o": overview(self.site, run), "severities": SEVERITIES, "meta": run.meta}

        return self._page(request, "run.html", data)

    def list_page(self, request: Request) -> Response:
        query = Query.of(request.query_params)

        def data(run: Run) -> Mapping[str, object]:
            labels = self.site.labels.latest()
            order = self.site.order(query, labels)
            page = _page_number(request, len(order))
            ids = tuple(name for name, _ in order[PAGE * (page - 1) : PAGE * page])
            rows: tuple[Listed, ...] = find(self.site.index, Filter(ids=ids))
            return {
                "query": query,
                "rows": rows,
                "counsellors": _counsellors(run, rows),
                "total": len(order),
                "page": page,
                "pages": max(1, -(-len(order) // PAGE)),
                "labels": labels,
                "choices": self._choices(run),
            }

        return self._page(request, "list.html", data, words="q" in query.given)

    def search_page(self, request: Request) -> Response:
        pattern, role = (request.query_params.get(name, "").strip() for name in ("q", "role"))
        if role and role not in (*ROLES, "post"):
            raise UsageError(f"role {role!r} does not exist", hint=f"known: {', '.join(ROLES)}, post")
        limit = _whole(request.query_params.get("limit", ""), PAGE, 1000)

        def data(run: Run) -> Mapping[str, object]:
            hits = search(self.site.index, pattern, role=role, limit=limit) if pattern else ()
            marked = [(hit, re.split(f"[{START}{END}]", hit.snippet)) for hit in hits]
            return {"pattern": pattern, "role": role, "roles": (*ROLES, "post"), "hits": marked, "limit": limit}

        return self._page(request, "search.html", data, words=bool(pattern))

    def dialogue_page(self, request: Request) -> Response:
        name, query = _id(request.path_params["id"]), Query.of(request.query_params)

        def data(run: Run) -> Mapping[str, object]:
            dialogue = run.dialogue(name)
            labels = list(self.site.labels.all())
            latest = {label.dialogue_id: label for label in labels}
            branches = self._branches(dialogue)
            return {
                "reading": read(run, dialogue, self.site.knowledge),
                "post": _post(run, dialogue),
                "query": query,
                "way": self._way(dialogue, query, latest),
                "branches": branches,
                "counsellors": _counsellors(run, [row for _, row in branches]),
                "labels": [label for label in labels if label.dialogue_id == dialogue.id],
                "reviewer": unquote(request.cookies.get(REVIEWER, "")),
            }

        return self._page(request, "dialogue.html", data, words="q" in query.given)

    def compare_page(self, request: Request) -> Response:
        a, b = (_id(request.query_params.get(side, "")) for side in ("a", "b"))
        only = request.query_params.get("only", "different")

        def data(run: Run) -> Mapping[str, object]:
            sides = run.dialogue(a), run.dialogue(b)
            found = compare(*(part for side in sides for part in (side, tuple(run.calls(side.id)))))  # type: ignore[arg-type]
            steps = found.steps if only == "all" else found.different
            rounds = [(number, list(group)) for number, group in groupby(steps, lambda step: step.path.split("/")[0])]
            return {"found": found, "rounds": rounds, "only": only, "changes": changes}

        return self._page(request, "compare.html", data)

    async def label(self, request: Request) -> Response:
        """Keep what a person says of a dialogue, and show it again."""
        fields = await posted(request, self.site.secrets)
        name, query = _id(request.path_params["id"]), Query.of(request.query_params)
        await run_in_threadpool(self._keep, name, fields)
        response = RedirectResponse(query.url(f"/d/{name}") + "#review", 303)
        reviewer = quote(fields.get("reviewer", "")[:LONGEST_NAME])
        response.set_cookie(REVIEWER, reviewer, max_age=REMEMBERED_S, httponly=True, samesite="strict")
        return response

    async def door(self, request: Request) -> Response:
        """Ask for the token, where one is set."""
        if self.site.secrets.admits(request):
            return RedirectResponse("/", 303)
        wrong = False
        if request.method == "POST":
            fields = await posted(request, self.site.secrets)
            if self.site.secrets.knows(fields.get("token", "")):
                response = RedirectResponse("/", 303)
                response.set_cookie(COOKIE, self.site.secrets.visit, httponly=True, samesite="strict")
                return response
            wrong = True
        page = templates().get_template("enter.html").render(self._common(request) | {"wrong": wrong})
        return HTMLResponse(page, 403 if wrong else 200)

    def error(self, request: Request, error: Exception) -> Response:
        """A page that says what is wrong with the address, and where to go on."""
        code, message, hint = 500, "The viewer failed; its terminal says how.", ""
        if isinstance(error, HTTPException):
            code, message = error.status_code, error.detail
        elif isinstance(error, UsageError):
            code, message, hint = (404 if isinstance(error, NoMatch) else 400), str(error), error.hint
        page = templates().get_template("error.html")
        return HTMLResponse(page.render(self._common(request) | {"code": code, "message": message, "hint": hint}), code)

    # -------------------------------------------------------- what they need

    def _page(
        self, request: Request, name: str, data: Callable[[Run], Mapping[str, object]], *, words: bool = False
    ) -> Response:
        version = f'"{self.site.version()}"'
        live = "x-live" in request.headers
        if live and request.headers.get("if-none-match") == version:
            return Response(status_code=304, headers={"ETag": version})
        with self.site.reading(words=words) as run:
            given = {**self._common(request), **data(run), "version": version, "rehearsal": run.rehearsal()}
        template = templates().get_template(name)
        body = "".join(template.blocks["live"](template.new_context(given))) if live else template.render(given)
        return HTMLResponse(body, headers={"ETag": version})

    def _common(self, request: Request) -> dict[str, object]:
        return {
            "site": self.site,
            "path": request.url.path,
            "form": self.site.secrets.form,
            "reading_in": self.site.reading_in,
            "rehearsal": False,
        }

    def _choices(self, run: Run) -> Mapping[str, tuple[str, ...]]:
        """What a filter may be set to; `prompt` and `since` are typed."""
        reasons = {code for _, code, _, _ in run.reasons()}
        listed = [code for codes in reason_codes().values() for code in codes if code in reasons]
        return {
            "status": tuple(Status),
            "reason": tuple(listed),
            "modality": modalities(self.site.index),
            "severity": SEVERITIES,
            "role": (*ROLES, "dialogue", "run"),
            "model": models(self.site.index),
            "label": LABELS,
        }

    def _way(self, dialogue: Dialogue, query: Query, labels: dict[str, Label]) -> Way:
        order = self.site.order(query, labels)
        at = next((n for n, (name, _) in enumerate(order) if name == dialogue.id), -1)
        rest = order[at + 1 :]
        return Way(
            number=at + 1,
            of=len(order),
            before=order[at - 1][0] if at > 0 else None,
            after=rest[0][0] if rest else None,
            failure=next((name for name, status in rest if status in FAILURES), None),
        )

    def _branches(self, dialogue: Dialogue) -> list[tuple[int, Listed]]:
        """The dialogue that was grown from the post and all its forks, each with its depth; alone it is no tree."""
        made = find(self.site.index, Filter(post_id=dialogue.post_id))
        found: list[tuple[int, Listed]] = []

        def grow(parent: str | None, depth: int) -> None:
            for row in made:
                if row.forked_from == parent:
                    found.append((depth, row))
                    grow(row.id, depth + 1)

        grow(None, 0)
        return found if len(found) > 1 else []

    def _keep(self, name: str, said: Mapping[str, str]) -> None:
        with self.site.reading() as run:
            dialogue = run.dialogue(name)
        verdict, comment, reviewer = (said.get(field, "") for field in ("verdict", "comment", "reviewer"))
        number = _whole(said.get("round", ""), 0, len(dialogue.turns))
        self.site.labels.add(checked_label(dialogue, verdict, comment, reviewer[:LONGEST_NAME], number))


def _counsellors(run: Run, rows: Iterable[Listed]) -> Mapping[str, str]:
    """Of an evaluation: id -> who the counsellor was; {} of a corpus."""
    return {row.id: run.dialogue(row.id).provenance.models["therapist"] for row in rows} if run.evaluation else {}


def _post(run: Run, dialogue: Dialogue) -> Post | None:
    """None for a talk of an evaluation whose client was made from no post."""
    try:
        return run.post(dialogue.post_id)
    except UsageError:
        return None


def _id(given: str) -> str:
    if not _ID.fullmatch(given):
        raise UsageError(f"{given[:40]!r} is no dialogue's id", hint="an id is made of 0-9 and a-f")
    return given


def _page_number(request: Request, total: int) -> int:
    return min(_whole(request.query_params.get("page", ""), 1, 1_000_000), max(1, -(-total // PAGE)))


def _whole(given: str, default: int, most: int) -> int:
    return min(max(1, int(given)), most) if given.isascii() and given.isdigit() and len(given) < 10 else default
