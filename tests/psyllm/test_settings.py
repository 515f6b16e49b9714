"""psyllm.toml: what is built in, what a profile means, what a call costs, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from psyllm.errors import UsageError
from psyllm.records import ROLES
from psyllm.settings import ModelSettings, Price, Rules, Settings, load_settings
from tests.conftest import EXAMPLES

MODEL = '[models.m]\nbase_url = "http://127.0.0.1:8000/v1"\nmodel = "m-1"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as error:
        load_settings(written(folder, text))
    assert "mine.toml" in str(error.value)
    assert error.value.hint
    return str(error.value)


def test_without_a_file_the_rehearsal_plays_every_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.cast(None) == dict.fromkeys(ROLES, "rehearsal")
    assert settings.models["rehearsal"].kind == "rehearsal"
    assert settings.cast("embedded")["critic"] == "embedded"


def test_the_file_in_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "psyllm.toml").write_text("[grow]\nseed = 7\n", encoding="utf-8")
    assert load_settings().grow.seed == 7


def test_a_role_can_have_a_model_of_its_own(tmp_path: Path) -> None:
    text = f'profile = "mixed"\n{MODEL}[profiles.mixed]\ndefault = "rehearsal"\ncritic = "m"\n'
    settings = load_settings(written(tmp_path, text))
    cast = settings.cast(None)
    assert cast.pop("critic") == "m"
    assert set(cast.values()) == {"rehearsal"}
    assert settings.cast("rehearsal")["critic"] == "rehearsal"


@pytest.mark.parametrize(
    ("sampling", "tokens"), [({"max_tokens": 900}, 900), ({"max_completion_tokens": 800}, 800), ({}, 0)]
)
def test_the_room_for_an_answer_is_what_the_sampling_allows(sampling: dict[str, JsonValue], tokens: int) -> None:
    assert ModelSettings(base_url="http://127.0.0.1/v1", model="m", sampling=sampling).answer_tokens == tokens


def test_every_model_says_what_it_holds() -> None:
    models = load_settings(EXAMPLES / "psyllm.toml").models
    assert models["embedded"].context == 8192
    assert all("context" in model.model_fields_set or name == "rehearsal" for name, model in models.items())


def test_the_shipped_example_is_right_and_serves_every_profile() -> None:
    settings = load_settings(EXAMPLES / "psyllm.toml")
    for profile in settings.profiles:
        assert set(settings.cast(profile).values()) <= set(settings.models)
    assert settings.rules == Rules()


@pytest.mark.parametrize(
    ("price", "dollars"),
    [
        (Price(input=2.0, cached=0.5, output=8.0), (36 * 2.0 + 64 * 0.5 + 10 * 8.0) / 1e6),
        (Price(input=2.0, output=8.0), (100 * 2.0 + 10 * 8.0) / 1e6),
        (Price(input=2.0, cached=0.0, output=8.0), (36 * 2.0 + 10 * 8.0) / 1e6),
    ],
)
def test_cached_tokens_are_part_of_the_prompt_and_have_their_own_price(price: Price, dollars: float) -> None:
    assert price.cost(prompt=100, cached=64, completion=10) == pytest.approx(dollars)


def test_a_key_comes_from_the_environment_before_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOME_API_KEY", raising=False)
    model = ModelSettings(base_url="http://127.0.0.1/v1", model="m", api_key_env="SOME_API_KEY")
    with pytest.raises(UsageError, match="SOME_API_KEY is not set"):
        model.api_key("m")
    (tmp_path / ".env").write_text("SOME_API_KEY=from-file\n", encoding="utf-8")
    assert model.api_key("m").get_secret_value() == "from-file"
    monkeypatch.setenv("SOME_API_KEY", "from-environment")
    assert model.api_key("m").get_secret_value() == "from-environment"
    assert "from-environment" not in repr(model.api_key("m"))


MISTAKES = [
    ("[grow\n", "line 1"),
    ("sed = 1\n", "unknown setting sed"),
    ("[grow]\nmin_rounds = 9\n", "grow.min_rounds: Input should be less than or equal to 8, not 9"),
    ("[grow]\nmin_rounds = 4\nmax_rounds = 3\n", "grow: min_rounds 4 is above max_rounds 3"),
    ('[grow]\nsystems = ["dsm4"]\n', "'dsm4'"),
    ('[models.m]\nmodel = "m"\n', "models.m: base_url is missing"),
    ('[models.m]\nmodel = "m"\nbase_url = "localhost:8000"\n', "'localhost:8000'"),
    ('[models.m]\nmodel = "m"\nbase_url = "http://a:x/v1"\n', "'http://a:x/v1'"),
    ('[models.m]\nmodel = "m"\nbase_url = ["http://a/v1", "b"]\n', "models.m.base_url: 'b' should be an address"),
    ('[models.m]\nmodel = "m"\nbase_url = ["http://a/v1", "http://a/v1"]\n', "an address is there twice"),
    ('[models.m]\nmodel = "m"\nbase_url = []\n', "models.m: base_url is missing"),
    (MODEL + "concurrency = 0\n", "models.m.concurrency"),
    ('[profiles.p]\ndefault = "m"\n', "profiles.p: planner names the unknown model 'm'"),
    (MODEL + '[profiles.p]\ndefault = "m"\ncritic = "x"\n', "profiles.p: critic names the unknown model 'x'"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_named_by_setting_and_value(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)


def test_a_key_written_into_the_file_is_not_repeated(tmp_path: Path) -> None:
    said = refusal(tmp_path, MODEL + 'api_key = "sk-secret"\n')
    assert "unknown setting models.m.api_key" in said
    assert "sk-secret" not in said


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    for path, words in ((tmp_path / "mine.toml", "not TOML"), (tmp_path, "cannot be read"), (Path("no.toml"), "exist")):
        with pytest.raises(UsageError, match=words) as error:
            load_settings(path)
        assert error.value.hint


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'gpt'") as error:
        Settings().cast("gpt")
    assert error.value.hint == "known: desk, embedded, rehearsal"


def test_sampling_cannot_say_what_psyllm_says_itself() -> None:
    with pytest.raises(ValidationError, match="seed is set by psyllm"):
        ModelSettings(base_url="http://127.0.0.1:1/v1", model="m", sampling={"seed": 5})
