"""LangGraph as its guides have it: a chain of four nodes around ChatOpenAI, with and without AsyncSqliteSaver."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from typing import TypedDict

os.environ["LANGSMITH_TRACING"] = "false"
from common import STEPS, Clock, arguments, messages
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

given = arguments(("none", "sqlite"))


class State(TypedDict, total=False):
    item: int
    plan: str
    patient: str
    therapist: str
    critic: str


async def main() -> None:
    model = ChatOpenAI(model="mock", base_url=given.base_url, api_key="none")
    gate, done = asyncio.Semaphore(given.concurrency), 0

    def node(step: str):
        async def answer(state: State) -> State:
            async with gate:
                return {step: (await model.ainvoke(messages(step, state, given.system_bytes))).content}

        return answer

    chain = StateGraph(State)
    before = START
    for step in STEPS:
        chain.add_node(f"{step}_agent", node(step))
        chain.add_edge(before, f"{step}_agent")
        before = f"{step}_agent"
    chain.add_edge(before, END)
    async with AsyncExitStack() as stack:
        saver = None
        if given.mode == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(f"{folder}/checkpoints.db"))
        graph = chain.compile(checkpointer=saver)

        async def item(number: int) -> None:
            nonlocal done
            state = await graph.ainvoke({"item": number}, {"configurable": {"thread_id": str(number)}})
            done += bool(state["critic"])

        with Clock() as clock:
            await asyncio.gather(*(item(number) for number in range(given.items)), return_exceptions=True)
        clock.tell(done)


asyncio.run(main())
