"""The desk: a call becomes a file in the run's folder, and waits until a person has written its answer beside it.

    desk/therapist/02-respond-3f2a91c4-8d05e1f7a2b6.md            the call: its messages as sent, its answer's schema
    desk/therapist/02-respond-3f2a91c4-8d05e1f7a2b6.answer.json   the answer; or .answer.md, words taken as they are
    desk/therapist/02-respond-3f2a91c4-8d05e1f7a2b6.reasoning.md  if wanted, and before the answer: how it came about
    desk/therapist/02-respond-3f2a91c4-8d05e1f7a2b6.error.txt     why an answer could not be read; it may be mended
    desk/done/                                                    the files of calls whose answers were taken

A name ends in the call's key, so that the next start finds an answer that came while nothing ran. One watcher looks
after all calls that wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from psyllm.errors import Failure, UsageError
from psyllm.forms import Answered, Form
from psyllm.rows import Call

FOLDER = "desk"
DONE = "done"
ANSWERS = (".answer.json", ".answer.md")
REASONING = ".reasoning.md"
ERROR = ".error.txt"
POLL_S = 0.5
"""Seconds between two looks at the folder. An answer in words is taken when it did not change between two."""

_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_MESSAGE = re.compile(r"^## (system|user|assistant)\n\n(`{4,})text\n(.*?)\n\2$", re.DOTALL | re.MULTILINE)
_SCHEMA = "\n## The answer's schema\n\n```json\n"


@dataclass(frozen=True)
class DeskCall:
    """A call as its file tells it."""

    file: Path
    role: str
    dialogue: str
    step: str
    """Round, node, attempt, as in `2/respond/0`."""
    correction: int
    """How often the answer was sent back because it did not fit its schema."""
    model: str
    channel: bool
    """Whether reasoning is wanted beside the answer, as a reasoning model gives it."""
    messages: tuple[tuple[str, str], ...]
    """(role, text) as sent, byte for byte."""
    schema: dict[str, Any]
    since: float
    """Unix time of the file."""

    def beside(self, suffix: str) -> Path:
        return _beside(self.file, suffix)


@dataclass(frozen=True)
class DeskAnswer:
    """What a person, or a program, wrote."""

    text: str
    reasoning: str = ""


@dataclass
class _Waiting:
    file: Path
    answer: asyncio.Future[DeskAnswer]
    seen: tuple[int, int] = (0, 0)
    """(nanoseconds, bytes) of the answer's file at the last look."""
    refused: tuple[int, int] = (0, 0)
    """The same of the version that could not be read."""


class Desk:
    """The desk of one run. Stands where a chat model stands, for calls of any role."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self._waiting: dict[Path, _Waiting] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def answer(
        self, call: Call, form: Form[Answered], stopping: asyncio.Event, *, channel: bool = False
    ) -> DeskAnswer:
        """Wait for a call's answer, however long. Raises Failure when `stopping`, or if the folder cannot be used."""
        file = self.folder / call.role / f"{_name(call)}.md"
        try:
            if (found := await asyncio.to_thread(self._put, file, _written(call, form, channel=channel))) is not None:
                return found
        except OSError as error:
            raise _unusable(error) from error
        waiting = self._waiting[file] = _Waiting(file, asyncio.get_running_loop().create_future())
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(stopping))
        try:
            return await waiting.answer
        finally:
            del self._waiting[file]

    async def _watch(self, stopping: asyncio.Event) -> None:
        """Hand out answers until no call waits."""
        while self._waiting and not stopping.is_set():
            waiting = list(self._waiting.values())
            try:
                for one, answer in await asyncio.to_thread(self._look, waiting):
                    if not one.answer.done():
                        one.answer.set_result(answer)
            except OSError as error:
                self._end(_unusable(error))
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), POLL_S)
        self._end(Failure("stopped", "the run is being stopped"))

    def _end(self, failure: Failure) -> None:
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(failure)

    def _put(self, file: Path, text: str) -> DeskAnswer | None:
        """Write the call's file, or return the answer that an earlier start took without living to record it."""
        for folder in (self.folder, self.folder / DONE, file.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        for suffix in ANSWERS:
            if (self.folder / DONE / _beside(file, suffix).name).exists():
                return self._taken(file, suffix)
        data = text.encode()
        if not file.exists() or file.read_bytes() != data:
            write(file, data)
        return None

    def _look(self, waiting: list[_Waiting]) -> list[tuple[_Waiting, DeskAnswer]]:
        present = {entry.path for folder in {one.file.parent for one in waiting} for entry in os.scandir(folder)}
        found = []
        for one in waiting:
            for suffix in ANSWERS:
                if str(_beside(one.file, suffix)) in present and self._readable(one, _beside(one.file, suffix)):
                    found.append((one, self._taken(one.file, suffix)))
                    break
        return found

    def _readable(self, waiting: _Waiting, file: Path) -> bool:
        """Whether an answer is whole. JSON is when it parses; words are when they stay the same for a while."""
        try:
            facts = file.stat()
            stamp = (facts.st_mtime_ns, facts.st_size)
            settled, waiting.seen = stamp == waiting.seen, stamp
            if stamp == waiting.refused or not facts.st_size:
                return False
            text = file.read_bytes().decode("utf-8-sig")
            if file.suffix != ".json":
                return settled
            if not isinstance(json.loads(text), dict):
                raise ValueError("is not a JSON object")
        except FileNotFoundError:
            return False
        except (OSError, ValueError, RecursionError) as error:
            if settled:
                waiting.refused = stamp
                complaint = f"{file.name} cannot be read: {error}\nMend it; it is read again when it has changed.\n"
                write(_beside(waiting.file, ERROR), complaint.encode())
            return False
        return True

    def _taken(self, file: Path, suffix: str) -> DeskAnswer:
        """Move the call's files to `done`, the call first: nobody shall take it for waiting. Read the answer there."""
        done = self.folder / DONE
        _beside(file, ERROR).unlink(missing_ok=True)
        for one in (file, _beside(file, REASONING), *(_beside(file, ending) for ending in ANSWERS)):
            with suppress(FileNotFoundError):
                one.replace(done / one.name)
        reasoning = done / _beside(file, REASONING).name
        return DeskAnswer(
            text=(done / _beside(file, suffix).name).read_bytes().decode("utf-8-sig"),
            reasoning=reasoning.read_bytes().decode("utf-8-sig", "replace").strip() if reasoning.exists() else "",
        )


def write(file: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    half = file.with_name(f".{file.name}.half")
    half.write_bytes(data)
    half.replace(file)


def waiting_calls(run: Path, role: str | None = None) -> list[Path]:
    """The files of calls that wait for an answer, or for a mended one; the oldest first."""
    found = []
    for file in (run / FOLDER).glob(f"{role or '*'}/*.md"):
        with suppress(FileNotFoundError):  # just taken
            if waits(file):
                found.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(found)]


def waits(file: Path) -> bool:
    """Whether a file is a call without an answer, or with one that was found unreadable and not mended since."""
    if file.parent.name == DONE or file.name.endswith((*ANSWERS, REASONING)) or not file.exists():
        return False
    error = _beside(file, ERROR)
    refused = error.stat().st_mtime_ns if error.exists() else 0
    answers = [answer for suffix in ANSWERS if (answer := _beside(file, suffix)).exists()]
    return all(answer.stat().st_mtime_ns <= refused for answer in answers)


def read_call(file: Path) -> DeskCall:
    """A call from its file. Raises UsageError if somebody spoiled it, FileNotFoundError if it is gone."""
    try:
        text = file.read_bytes().decode()
        matter = _MATTER.match(text)
        facts = yaml.safe_load(matter[1]) if matter else {}
        before, _, schema = text.rpartition(_SCHEMA)
        return DeskCall(
            file=file,
            role=facts["role"],
            dialogue=facts["dialogue"],
            step=facts["step"],
            correction=facts["correction"],
            model=facts["model"],
            channel=facts["reasoning_channel"],
            messages=tuple((found[1], found[3]) for found in _MESSAGE.finditer(before)),
            schema=json.loads(schema.rpartition("\n```")[0]),
            since=file.stat().st_mtime,
        )
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{file} is no call any more ({type(error).__name__})", hint="delete it; `psyllm grow` writes it again"
        ) from error


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name.removesuffix(".md") + suffix)


def _name(call: Call) -> str:
    return f"{call.step.round:02}-{call.step.node}-{call.step.dialogue_id[:8]}-{call.key.hex()[:12]}"


def _written(call: Call, form: Form[Answered], *, channel: bool) -> str:
    """The file of a call. Its fence is longer than any in the messages, so that they can be read back exactly."""
    facts = {
        "role": call.role,
        "dialogue": call.step.dialogue_id,
        "step": call.step.path,
        "correction": call.correction,
        "model": call.model,
        "prompts": [f"{ref.id} {ref.version}" for ref in call.prompts],
        "reasoning_channel": channel,
    }
    name = _name(call)
    longest = max((len(run) for message in call.messages for run in re.findall("`+", message.text)), default=0)
    fence = "`" * max(4, longest + 1)
    reasoning = f"Its reasoning goes, before it, into\n`{name}{REASONING}`\n" if channel else ""
    return (
        f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---\n\n"
        f"# {call.role}, step {call.step.path}, dialogue {call.step.dialogue_id}\n\n"
        f"`psyllm desk` takes the answer in an editor. Or put one JSON object that fits the schema at the end into\n"
        f"`{name}{ANSWERS[0]}`\n"
        f"beside this file, or what a model without an API said, just as it is, into\n"
        f"`{name}{ANSWERS[1]}`\n{reasoning}"
        + "".join(f"\n## {message.role}\n\n{fence}text\n{message.text}\n{fence}\n" for message in call.messages)
        + f"{_SCHEMA}{json.dumps(form.json_schema, indent=2, ensure_ascii=False)}\n```\n"
    )


def _unusable(error: OSError) -> Failure:
    return Failure(
        "store",
        f"cannot use the desk: {error.strerror or error} ({error.filename})",
        hint="make room or mend its permissions, then run the same command: it goes on",
        fatal=True,
    )
