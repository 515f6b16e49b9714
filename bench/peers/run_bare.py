"""The openai SDK and aiohttp, both on asyncio, with nothing around them."""

from __future__ import annotations

import asyncio
import json

from common import all_items, arguments

given = arguments(("openai", "aiohttp"))


async def openai_sdk() -> None:
    import openai

    async with openai.AsyncOpenAI(base_url=given.base_url, api_key="none") as client:

        async def ask(messages: list[dict[str, str]]) -> str:
            reply = await client.chat.completions.create(model="mock", messages=messages)
            return reply.choices[0].message.content

        await all_items(given, ask)


async def aiohttp_only() -> None:
    import aiohttp

    url = given.base_url + "/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(messages: list[dict[str, str]]) -> str:
            async with session.post(url, json={"model": "mock", "messages": messages}) as reply:
                return json.loads(await reply.read())["choices"][0]["message"]["content"]

        await all_items(given, ask)


asyncio.run(openai_sdk() if given.mode == "openai" else aiohttp_only())
