"""Settings: psyllm.toml names models, profiles say which model serves which role.

    profile = "deepseek"                       # used when --models is not given

    [models.deepseek]
    base_url = "https://api.deepseek.com/v1"
    model = "deepseek-chat"
    api_key_env = "DEEPSEEK_API_KEY"           # read from the environment or .env, never stored
    structured = "json_object"
    sampling = { temperature = 0.9, max_tokens = 4000 }

    [profiles.deepseek]
    default = "deepseek"
    critic = "other"                           # a role can have a model of its own

Built in, as models and as profiles: `rehearsal` (rules, no model), `embedded` (SmolLM2-135M in this process) and `desk`
(a person answers).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from psyllm.errors import UsageError
from psyllm.records import ROLES, Role, System

DEFAULT_FILE = Path("psyllm.toml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Section):
    input: float = Field(ge=0)
    """USD per million prompt tokens that were not cached."""
    cached: float | None = Field(default=None, ge=0)
    """USD per million cached prompt tokens; None means the input price."""
    output: float = Field(ge=0)
    """USD per million completion tokens, reasoning included."""

    def cost(self, prompt: int, cached: int, completion: int) -> float:
        """USD of one call from its token counts; `cached` is part of `prompt`."""
        reused = self.input if self.cached is None else self.cached
        return ((prompt - cached) * self.input + cached * reused + completion * self.output) / 1e6


DESK: dict[str, Any] = {"sampling": {}, "send_seed": False, "context": 1_000_000, "concurrency": 256}
"""What a model of kind `desk` has where psyllm.toml says nothing else: people need no sampling and read long texts."""


class ModelSettings(_Section):
    kind: Literal["endpoint", "rehearsal", "embedded", "desk"] = "endpoint"
    """A desk sends nothing: its calls wait as files in the run folder until somebody answers them."""
    base_url: str | tuple[str, ...] = ""
    """Up to and including /v1. Several serve the same model, under one key; calls go to those that can be reached."""
    model: str = Field(min_length=1)
    """The model's name as the endpoint knows it; part of the key under which an answer is reused."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty if the endpoint needs none."""
    structured: Literal["json_schema", "json_object", "text"] = "json_schema"
    """How an answer is kept to its schema: by the server, as any JSON object, or by asking in words."""
    trace: Literal["written", "native"] = "written"
    """The therapist's reasoning: a written field, or the reasoning channel of a reasoning model."""
    sampling: dict[str, JsonValue] = {"temperature": 0.8, "max_tokens": 4000}
    """Sent as they stand in the request body, e.g. temperature, top_p, max_tokens."""
    context: int = Field(default=32768, ge=1024)
    """Tokens that the model holds, prompt and answer together. A call that cannot fit is not sent."""
    send_seed: bool = True
    """Whether to send the call's seed; some endpoints refuse it."""
    price: Price | None = None
    concurrency: int = Field(default=16, ge=1, le=4096)
    """Calls in flight at once at each address, at most: fewer while it answers 429 or 503. --concurrency overrides it,
    but not a desk's: there it is how many may wait."""
    timeout_s: float = Field(default=300, gt=0)
    """Seconds for one request, body included."""
    tries: int = Field(default=8, ge=1, le=50)
    """Requests per call before it counts as failed."""

    @model_validator(mode="before")
    @classmethod
    def _desk_has_patience(cls, given: Any) -> Any:
        return DESK | given if isinstance(given, dict) and given.get("kind") == "desk" else given

    @field_validator("base_url", mode="before")
    @classmethod
    def _is_address(cls, given: object) -> object:
        urls = given if isinstance(given, list | tuple) else [given] if given else []
        for url in urls:
            parts = urlsplit(url) if isinstance(url, str) and re.fullmatch(r"https?://\S+", url) else None
            if parts is None or not parts.hostname or parts.port == 0:
                raise ValueError(f"{'' if url is given else f'{url!r} '}should be an address like http://host:8000/v1")
        if len(set(urls)) < len(urls):
            raise ValueError("an address is there twice")
        return given

    @field_validator("sampling")
    @classmethod
    def _sampling_is_sampling(cls, sampling: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if ours := sampling.keys() & {"model", "messages", "response_format", "seed", "stream", "n"}:
            raise ValueError(f"{', '.join(sorted(ours))} is set by psyllm, not by sampling")
        return sampling

    @model_validator(mode="after")
    def _endpoint_has_url(self) -> ModelSettings:
        if self.kind == "endpoint" and not self.base_urls:
            raise ValueError("base_url is missing")
        if self.kind == "desk" and (self.base_url or self.api_key_env):
            raise ValueError("a desk has no base_url and no api_key_env")
        return self

    @property
    def base_urls(self) -> tuple[str, ...]:
        """All addresses, without a slash at the end."""
        given = (self.base_url,) if isinstance(self.base_url, str) else self.base_url
        return tuple(url.rstrip("/") for url in given if url)

    @property
    def answer_tokens(self) -> int:
        """Most tokens of an answer, by the sampling; 0 if it sets no limit."""
        limits = (self.sampling.get(name) for name in ("max_tokens", "max_completion_tokens"))
        return max((limit for limit in limits if isinstance(limit, int)), default=0)

    def api_key(self, name: str) -> SecretStr:
        """The key. Raises UsageError if the variable is not set."""
        if not self.api_key_env:
            return SecretStr("none")
        value = (os.environ.get(self.api_key_env) or dotenv_values(".env").get(self.api_key_env) or "").strip()
        if not value:
            raise UsageError(
                f"model {name!r} needs an API key, but {self.api_key_env} is not set",
                hint=f"export {self.api_key_env}=... or write it into .env",
            )
        return SecretStr(value)


class Profile(_Section):
    """Which model serves which role."""

    default: str
    planner: str | None = None
    patient: str | None = None
    diagnostician: str | None = None
    therapist: str | None = None
    critic: str | None = None

    def model_for(self, role: Role) -> str:
        own: str | None = getattr(self, role)
        return own or self.default


class Bounds(_Section):
    """Bounds of every dialogue of a run."""

    seed: int = 0
    min_rounds: int = Field(default=2, ge=1, le=8)
    max_rounds: int = Field(default=4, ge=1, le=8)
    modalities: tuple[str, ...] = ()
    """Modalities on offer; empty means all."""
    systems: tuple[System, ...] = ("dsm5tr", "icd11")
    max_revisions: int = Field(default=2, ge=0, le=5)
    """How often one turn may be sent back before the dialogue is rejected."""
    client_words: Literal["simulated", "real"] = "simulated"
    """Who speaks for the client: the patient model, or the client of the source, message by message."""
    keep_all: bool = False
    """Grow also from posts that intake would screen out."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rounds > self.max_rounds:
            raise ValueError(f"min_rounds {self.min_rounds} is above max_rounds {self.max_rounds}")
        return self


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rules(Bounds):
    """Bounds and coverage: the part of the settings that a dialogue's fate depends on."""

    coverage: dict[str, Weight] = {}
    """Modality -> its weight in the draw; empty means that all weigh the same, otherwise an unnamed one weighs 0."""

    def shares(self, known: Iterable[str]) -> dict[str, float]:
        """Modality -> wanted share of the dialogues, adding up to 1; those with none are left out."""
        weights = {name: self.coverage.get(name, 0.0 if self.coverage else 1.0) for name in self.modalities or known}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items() if weight}


BUILT_IN_MODELS = {
    "rehearsal": ModelSettings(kind="rehearsal", model="rehearsal", sampling={}),
    "embedded": ModelSettings(
        kind="embedded",
        model="SmolLM2-135M-Instruct",
        sampling={"temperature": 0.7, "max_tokens": 3000},
        context=8192,
        concurrency=2,
        timeout_s=900,
    ),
    "desk": ModelSettings(kind="desk", model="desk"),
}


class Settings(_Section):
    profile: str = "rehearsal"
    """The profile used when --models is not given."""
    prompts: Path | None = None
    """A folder that overlays the shipped prompts file by file."""
    models: dict[str, ModelSettings] = Field(default={}, validate_default=True)
    profiles: dict[str, Profile] = Field(default={}, validate_default=True)
    grow: Bounds = Bounds()
    coverage: dict[str, Weight] = {}
    """Wanted shares of the modalities, as weights; see Rules.coverage."""

    @field_validator("models")
    @classmethod
    def _add_built_in_models(cls, models: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        return BUILT_IN_MODELS | models

    @field_validator("profiles")
    @classmethod
    def _add_built_in_profiles(cls, profiles: dict[str, Profile]) -> dict[str, Profile]:
        return {name: Profile(default=name) for name in BUILT_IN_MODELS} | profiles

    @model_validator(mode="after")
    def _models_exist(self) -> Settings:
        for name, profile in self.profiles.items():
            for role in ROLES:
                if profile.model_for(role) not in self.models:
                    raise ValueError(f"profiles.{name}: {role} names the unknown model {profile.model_for(role)!r}")
        return self

    @property
    def rules(self) -> Rules:
        """[grow] and [coverage] together."""
        return Rules(**self.grow.model_dump(), coverage=self.coverage)

    def cast(self, profile: str | None) -> dict[Role, str]:
        """Role -> model name for a profile. Raises UsageError for an unknown one."""
        name = profile or self.profile
        if name not in self.profiles:
            raise UsageError(f"unknown profile {name!r}", hint=f"known: {', '.join(sorted(self.profiles))}")
        return {role: self.profiles[name].model_for(role) for role in ROLES}

    def kinds(self, profile: str | None) -> frozenset[str]:
        """What the models of a profile are: endpoint, rehearsal, embedded, desk."""
        return frozenset(self.models[name].kind for name in self.cast(profile).values())

    def native_roles(self, profile: str | None) -> frozenset[Role]:
        """Roles whose reasoning comes on their model's own channel. Raises UsageError for an unknown profile."""
        return frozenset(role for role, name in self.cast(profile).items() if self.models[name].trace == "native")


def load_settings(path: Path | None = None) -> Settings:
    """Read psyllm.toml, or the defaults if there is none here. Raises UsageError naming file and value."""
    file = path or DEFAULT_FILE
    if not file.exists():
        if path is not None:
            raise UsageError(f"settings file {path} does not exist", hint="copy examples/psyllm.toml to start one")
        return Settings()
    try:
        data: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return Settings.model_validate(data)
    except ValidationError as error:
        wrong = "; ".join(map(_mistake, error.errors()))
        raise UsageError(f"{file}: {wrong}", hint="examples/psyllm.toml shows every setting") from error
    except ValueError as error:
        raise UsageError(f"{file} is not TOML: {error}", hint="examples/psyllm.toml shows how it is written") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="name a TOML file") from error


def _mistake(error: ErrorDetails) -> str:
    """One wrong setting with its value; never the value of an unknown one, which may be a key."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown setting {place}"
    said = error["msg"].removeprefix("Value error, ")
    value = f", not {error['input']!r}" if isinstance(error["input"], str | int | float) else ""
    return f"{place}: {said}{value}" if place else said
