"""`psyllm chat`: a look at a trained model in the terminal, its reasoning folded."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from rich.live import Live
from rich.text import Text

from app.screen import console, out
from app.train import require_training
from clinical import Knowledge
from corpus.rows import inference_messages
from prompts.library import Library
from psyllm.records import CRISIS_CONTACTS
from trainer.answers import Answer

WHAT_IT_IS_NOT = (
    "This is a language model under research, not a counsellor. It diagnoses nobody and is no crisis service; what it "
    "says can be wrong or harmful. If you or somebody else may be in danger, turn to a person:"
)
KEYS = "/think shows the last reasoning, /new starts again, /quit or Ctrl-D ends"


def chat_command(
    model: str, *, prompts: Path | None, seed: int, temperature: float, max_tokens: int, show_reasoning: bool
) -> None:
    """Talk until the input ends. The model is sent prompts/roles/counsellor.md and spoken words, as in training."""
    require_training()
    counsellor = Library(prompts).roles["counsellor"]
    knowledge = Knowledge.load()
    from trainer.talk import Talker

    talker = Talker(model, seed=seed, temperature=temperature, max_tokens=max_tokens)
    console.print(WHAT_IT_IS_NOT, style="yellow")
    console.print(f"{knowledge.contacts()}.", style="yellow")
    if unverified := knowledge.unverified_contacts():
        console.print(f"(nobody has checked these contacts yet: {', '.join(unverified)})", style="dim")
    console.print(f"{KEYS}\n", style="dim")
    spoken: list[str] = []
    reasoning = ""
    for words in _spoken():
        if words == "/quit":
            break
        if words == "/new":
            spoken, reasoning = [], ""
            console.print("a new conversation\n", style="dim")
        elif words == "/think":
            out.print(Text(reasoning or "nothing was thought yet", style="dim"))
        else:
            spoken.append(words)
            answer = _shown(talker.answer(inference_messages(counsellor, spoken)), knowledge.contacts(), show_reasoning)
            reasoning = answer.reasoning
            spoken.append(answer.reply)


def _spoken() -> Iterator[str]:
    """Lines of the person, without the empty ones; on a pipe the prompt is not shown."""
    while True:
        try:
            line = console.input(Text("you  ", style="bold")) if sys.stdin.isatty() else next(sys.stdin)
        except (EOFError, KeyboardInterrupt, StopIteration):
            return
        if line.strip():
            yield line.strip()


def _shown(answers: Generator[Answer, None, None], contacts: str, show_reasoning: bool) -> Answer:
    """Draw the answer while it grows; returns the last."""
    last = None
    with closing(answers), Live(console=out, refresh_per_second=8) as live:
        try:
            for last in answers:
                live.update(_drawn(last, contacts, show_reasoning))
        except KeyboardInterrupt:
            console.print("stopped", style="dim")
    out.print()
    return last or Answer("", "", False)


def _drawn(answer: Answer, contacts: str, show_reasoning: bool) -> Text:
    words = len(answer.reasoning.split())
    state = "thinking" if answer.thinking else "thought"
    text = Text()
    if show_reasoning:
        text.append(f"{answer.reasoning}\n\n", style="dim italic")
    elif words or answer.thinking:
        text.append(f"> {state}, {words} words\n", style="dim")
    if not answer.thinking:
        text.append(answer.reply.replace(CRISIS_CONTACTS, contacts))
    return text
