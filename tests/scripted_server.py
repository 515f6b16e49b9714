"""A chat endpoint that answers from a script: python tests/scripted_server.py SCRIPT.json LOG.jsonl

The script maps a schema's name to its answer, or to a list of answers given in turn (the last one stays).
An answer is an object sent as the message's content; its keys that start with $ become fields of the message
beside it ($reasoning), {"$raw": text} is content that is no JSON, and {"$status": 400} is a refusal,
which with "$echo": true repeats the key and the last message.
Every request's body and Authorization header are appended to LOG.
Prints READY and its base URL; ends when stdin closes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web


class Scripted:
    def __init__(self, script: dict[str, Any], log: Path) -> None:
        self.script = script
        self.log = log
        self.given: dict[str, int] = {}

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"authorization": request.headers.get("Authorization"), "body": body}) + "\n")
        name = body.get("response_format", {}).get("json_schema", {}).get("name", "plain")
        answer = self.script[name]
        if isinstance(answer, list):
            turn = self.given.get(name, 0)
            self.given[name] = turn + 1
            answer = answer[min(turn, len(answer) - 1)]
        if "$status" in answer:
            heard = f"{request.headers.get('Authorization')} {body['messages'][-1]['content']}"
            said = heard if answer.get("$echo") else "refused by the script"
            return web.json_response({"error": said}, status=answer["$status"])
        message: dict[str, Any] = {"role": "assistant"}
        if "$raw" in answer:
            message["content"] = answer["$raw"]
        else:
            channels = {key[1:]: value for key, value in answer.items() if key.startswith("$")}
            spoken = {key: value for key, value in answer.items() if not key.startswith("$")}
            message |= {"content": json.dumps(spoken), **channels}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 64}}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {"id": "x", "model": body["model"], "choices": [choice], "usage": usage | {"total_tokens": 110}}
        )


async def main(scripted: Scripted) -> None:
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post("/v1/chat/completions", scripted.chat)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"READY http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Scripted(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))))
