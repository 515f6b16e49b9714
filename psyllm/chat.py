"""ChatOpenAI over one aiohttp session: keeps the reasoning channel, names every failure, retries nothing itself.

`retrying` owns the retries, with tenacity: 429 (after Retry-After), 5xx, lost connections, time-outs, malformed
and truncated bodies. A refused key or an unknown model is not retried: it ends the run.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from pydantic import ConfigDict, Field
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random_exponential,
)

from psyllm.errors import Failure
from psyllm.settings import ModelSettings

MOST_BYTES = 16 << 20
"""Of one reply's body. No answer is that long; what is, is not read to its end."""
LONGEST_WAIT_S = 120.0
"""A Retry-After above this is cut to it, so that a broken header cannot stop a run for hours."""


class Transient(Exception):
    """A failed request that may go well when sent again."""

    def __init__(self, what: str, wait_s: float | None = None, *, lost: bool = False, busy: bool = False) -> None:
        super().__init__(what)
        self.wait_s = wait_s
        """Seconds the endpoint asked us to wait, if it did."""
        self.lost = lost
        """True if no connection could be made at all."""
        self.busy = busy
        """True if the endpoint said that it has too much to do: HTTP 429 or 503."""


class Chat(ChatOpenAI):
    """One model at one endpoint. `sampling` goes into the request body as the settings write it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    session: aiohttp.ClientSession = Field(exclude=True)
    sampling: dict[str, Any]
    timeout_s: float = 300

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        return payload | self.sampling

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        body = await self._post(self._get_request_payload(messages, stop=stop, **kwargs))
        message = body["choices"][0]["message"]
        try:
            result = self._create_chat_result(body)
        except (ValueError, KeyError, TypeError) as error:
            raise Transient(f"malformed body: {type(error).__name__}") from error
        result.generations[0].message.additional_kwargs["reasoning"] = str(
            message.get("reasoning_content") or message.get("reasoning") or ""
        )
        return result

    _agenerate.__signature__ = inspect.signature(_agenerate)  # type: ignore[attr-defined]  # LangChain asks at each call

    async def _post(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        key = self.openai_api_key.get_secret_value() if self.openai_api_key else "none"  # type: ignore[union-attr]
        url = f"{str(self.openai_api_base).rstrip('/')}/chat/completions"
        try:
            async with self.session.post(
                url,
                json=payload,
                headers={"Authorization": f"Bearer {key}"},
                timeout=aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=20),
            ) as response:
                raw = await _body(response)
        except aiohttp.ClientConnectorError as error:
            raise Transient(f"cannot connect to {url}: {error.os_error.strerror or error}", lost=True) from error
        except TimeoutError as error:
            raise Transient(f"no answer within {self.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise Transient(f"connection lost: {type(error).__name__}") from error
        if response.status != 200:
            said = raw.replace(key.encode(), b"***")  # some repeat the key that they refuse
            raise _refused(response.status, response.headers, said, url, self.model_name)
        return _checked(raw)


def _refused(status: int, headers: Mapping[str, str], raw: bytes, url: str, model: str) -> Transient | Failure:
    said = raw[:300].decode("utf-8", "replace")
    if status in (408, 409, 425, 429) or status >= 500:
        wait_s = _retry_after(headers.get("Retry-After"))
        return Transient(f"HTTP {status}: {said}", wait_s, busy=status in (429, 503))
    if status in (401, 403):
        return Failure("endpoint", f"{url} refused the API key (HTTP {status})", hint="check api_key_env", fatal=True)
    if status == 402:
        return Failure("endpoint", f"{url} wants to be paid (HTTP 402): {said}", hint="top up, then go on", fatal=True)
    if status == 404:
        return Failure(
            "endpoint", f"{url} does not know model {model!r} (HTTP 404)", hint="check base_url and model", fatal=True
        )
    return Failure("endpoint", f"HTTP {status} from {url}: {said}")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > MOST_BYTES:
            response.close()
            raise Transient(f"a body of more than {MOST_BYTES >> 20} MiB")
    return bytes(raw)


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _checked(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
        message = body["choices"][0]["message"]
        content = message.get("content")
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Transient(f"malformed body of {len(raw)} bytes ({type(error).__name__})") from error
    if not isinstance(content, str):
        message["content"] = message["refusal"] if isinstance(message.get("refusal"), str) else ""
    return body  # type: ignore[no-any-return]


_PATIENCE = wait_exponential(multiplier=0.15, exp_base=4, max=20) + wait_random_exponential(
    multiplier=0.15, exp_base=4, max=20
)
"""Seconds from 0.15 on: eight tries take between one minute and two and a half."""


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = (error.wait_s if isinstance(error, Transient) else None) or 0.0
    return max(min(asked, LONGEST_WAIT_S), _PATIENCE(state))


def retrying(tries: int, stopping: asyncio.Event) -> AsyncRetrying:
    """tenacity's loop for one call. Raises the last Transient after `tries` requests, Failure when `stopping`."""

    async def sleep(seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)
            raise Failure("stopped", "the run is being stopped")

    return AsyncRetrying(
        retry=retry_if_exception_type(Transient),
        wait=_wait,
        stop=stop_after_attempt(tries),
        sleep=sleep,
        reraise=True,
    )


def chat_model(settings: ModelSettings, name: str, base_url: str, session: aiohttp.ClientSession) -> Chat:
    """The chat model of one settings entry. Raises UsageError if its API key is not set."""
    return Chat(
        model=settings.model,
        base_url=base_url,
        api_key=settings.api_key(name),
        session=session,
        sampling=dict(settings.sampling),
        timeout_s=settings.timeout_s,
        max_retries=0,
    )


@asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """One pool for all endpoints; calls are gated, connections are not."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60)) as session:
        yield session
