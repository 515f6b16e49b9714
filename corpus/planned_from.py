"""Dialogues beside the posts that they were planned from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

from psyllm.journal import connect, inflate
from psyllm.records import Dialogue, Post, Status
from psyllm.runs import Run


def with_posts(run: Run) -> Iterator[tuple[Dialogue, str]]:
    """Each accepted dialogue with title and text of its post, as the planner saw it; '' if the run lost the post."""
    query = "SELECT t.body FROM posts p JOIN texts t ON t.id = p.record_id WHERE p.id = ?"
    with ExitStack() as stack:
        files = sorted(run.folder.glob("journal-*.db"))
        databases = [stack.enter_context(closing(connect(file, read_only=True))) for file in files]
        for dialogue in run.dialogues(Status.ACCEPTED):
            rows = (database.execute(query, (dialogue.post_id,)).fetchone() for database in databases)
            body = next((row[0] for row in rows if row), None)
            post = Post.model_validate_json(inflate(body)) if body else None
            yield dialogue, f"{post.title}\n{post.text}".strip() if post else ""
