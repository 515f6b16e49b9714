"""What a row holds, and that what is trained on is what is served."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from corpus.chat_template import ChatTemplate
from corpus.rows import chat_row, inference_messages, openr1_row, preference_rows, turn_rows, with_contacts
from prompts.library import Library
from psyllm.errors import Failure
from psyllm.servers import embedded
from tests.corpus.conftest import dialogue, said, turn

COUNSELLOR = Library().roles["counsellor"]
ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = ChatTemplate.read(ROOT / "trainer" / "templates" / "smollm2.jinja")
STOCK_SMOLLM2 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MODELS = ["smollm2", "qwen3"]
TALK = dialogue(1, turn(1), turn(1, 2, mode="safety_first", draft="Try yoga."), turn(1, 3))


@pytest.fixture
def template(request: pytest.FixtureRequest) -> ChatTemplate:
    """By the model's name: ours, or the stock template that TRL brings along."""
    if request.param == "smollm2":
        return SMOLLM2
    trl = find_spec("trl")
    if trl is None or trl.origin is None:
        pytest.skip("needs the train extra")
    return ChatTemplate.read(Path(trl.origin).parent / "chat_templates" / f"{request.param}.jinja")


def test_a_prompt_holds_what_a_server_is_sent_and_the_completion_its_reasoning() -> None:
    rows = list(turn_rows(TALK, COUNSELLOR))
    assert [row["id"] for row in rows] == ["d1/1", "d1/2", "d1/3"]
    spoken = [words for t in TALK.turns for words in (t.client_text, t.reply.text if t.reply else "")]
    for number, row in enumerate(rows):
        assert row["prompt"] == inference_messages(COUNSELLOR, spoken[: 2 * number + 1])
        assert row["prompt"][0] == {"role": "system", "content": COUNSELLOR.render("system")}
        assert [m["role"] for m in row["prompt"][1:]] == ["user", "assistant"] * number + ["user"]
        (answer,) = row["completion"]
        assert answer == {
            "role": "assistant",
            "reasoning_content": f"thought 1.{number + 1}",
            "content": spoken[2 * number + 1],
        }
        assert not any("thought" in m["content"] for m in row["prompt"])
    assert [row["mode"] for row in rows] == ["ordinary", "safety_first", "ordinary"]
    assert [row["risk_level"] for row in rows] == [0, 4, 0]
    assert (chat_row(TALK, COUNSELLOR)["mode"], chat_row(TALK, COUNSELLOR)["risk_level"]) == ("safety_first", 4)


def test_a_repaired_turn_is_a_pair_under_the_counsellors_prompt() -> None:
    (pair,) = preference_rows(TALK, COUNSELLOR)
    assert pair["prompt"] == list(turn_rows(TALK, COUNSELLOR))[1]["prompt"]
    assert pair["chosen"] == [{"role": "assistant", "reasoning_content": "thought 1.2", "content": said(5012)}]
    assert pair["rejected"] == [{"role": "assistant", "reasoning_content": "bad thought 1", "content": "Try yoga."}]
    assert pair["reasons"] == ["advice_pile_up"]
    assert "GUIDANCE" not in json.dumps(pair)


def test_no_row_holds_what_the_counsellor_never_sees() -> None:
    rows = [chat_row(TALK, COUNSELLOR), *turn_rows(TALK, COUNSELLOR), *preference_rows(TALK, COUNSELLOR)]
    text = json.dumps([*rows, openr1_row(TALK)])
    assert "hidden" not in text
    assert "GUIDANCE" not in text


def test_the_published_fields_and_no_others() -> None:
    row = openr1_row(TALK)
    assert row.keys() == {"post_id", "file", "conversation"}
    assert row["conversation"][1] == {
        "patient": f"{said(12)} Second.",
        "counselor_think": "thought 1.2",
        "counselor_content": said(5012),
    }


def test_crisis_contacts_are_filled_in_replies_only_when_asked() -> None:
    first = turn(1)
    assert first.reply is not None
    reply = first.reply.model_copy(update={"text": "Call {crisis_contacts} now."})
    talk = dialogue(1, first.model_copy(update={"reply": reply}))
    assert chat_row(talk, COUNSELLOR)["messages"][-1]["content"] == "Call {crisis_contacts} now."
    filled = chat_row(with_contacts(talk, "1234 (Line)"), COUNSELLOR)["messages"]
    assert filled[-1]["content"] == "Call 1234 (Line) now."
    assert "{crisis_contacts}" in filled[0]["content"], "the served prompt stays what it is"


@pytest.mark.parametrize("template", MODELS, indirect=True)
def test_a_rendered_row_begins_with_the_rendered_prompt_of_a_server_and_holds_its_reasoning(
    template: ChatTemplate,
) -> None:
    spoken: list[str] = []
    for t, row in zip(TALK.turns, turn_rows(TALK, COUNSELLOR), strict=True):
        assert t.reply is not None
        spoken.append(t.client_text)
        served = template.render(inference_messages(COUNSELLOR, spoken), add_generation_prompt=True)
        trained = template.render([*row["prompt"], *row["completion"]])
        assert trained == f"{served}<think>\n{t.reply.reasoning}\n</think>\n\n{t.reply.text}<|im_end|>\n"
        assert template.completion(row["prompt"], row["completion"]).startswith("<think>")
        template.require_reasoning(row)
        spoken.append(t.reply.text)
    template.require_reasoning(next(preference_rows(TALK, COUNSELLOR)))
    whole = chat_row(TALK, COUNSELLOR)
    template.require_reasoning(whole)
    assert template.render(whole["messages"]).count("<think>") == 1, "earlier replies come without their reasoning"


def test_a_template_that_drops_the_reasoning_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stock.jinja").write_text(STOCK_SMOLLM2)
    stock = ChatTemplate.read(tmp_path / "stock.jinja")
    with pytest.raises(Failure, match=r"row d1/1: rendered by .*stock\.jinja, its answer lacks its reasoning"):
        stock.require_reasoning(next(turn_rows(TALK, COUNSELLOR)))


@pytest.mark.parametrize("template", MODELS, indirect=True)
def test_the_template_is_rendered_as_transformers_does(template: ChatTemplate) -> None:
    utils = pytest.importorskip("transformers.utils.chat_template_utils", reason="needs the train extra")
    compiled = utils._compile_jinja_template(Path(template.name).read_text(encoding="utf-8"))
    for row in turn_rows(TALK, COUNSELLOR):
        for messages, ask in ((row["prompt"], True), ([*row["prompt"], *row["completion"]], False)):
            expected = compiled.render(messages=messages, add_generation_prompt=ask)
            assert template.render(messages, add_generation_prompt=ask) == expected


def test_token_by_token_the_prompt_of_a_row_is_what_smollm2_is_sent() -> None:
    with embedded(slots=1, context=512) as base_url:

        def tokens(text: str) -> list[int]:
            body = {"content": text, "parse_special": True, "add_special": False}
            url = f"{base_url.removesuffix('/v1')}/tokenize"
            return list(httpx.post(url, json=body, timeout=60).json()["tokens"])

        spoken: list[str] = []
        for t, row in zip(TALK.turns, turn_rows(TALK, COUNSELLOR), strict=True):
            assert t.reply is not None
            spoken.append(t.client_text)
            served = tokens(SMOLLM2.render(inference_messages(COUNSELLOR, spoken), add_generation_prompt=True))
            trained = tokens(SMOLLM2.render([*row["prompt"], *row["completion"]]))
            assert trained[: len(served)] == served
            assert trained[len(served) :] == tokens(SMOLLM2.completion(row["prompt"], row["completion"]))
            spoken.append(t.reply.text)
