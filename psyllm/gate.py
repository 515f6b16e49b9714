"""The places for calls in flight at one address: as many as the settings allow, fewer while it says that it is busy.

    gate = Gate(64)
    async with gate.place(depth=2) as place:   # later rounds go first, so that dialogues finish
        ...                                    # then place.answered(), or place.refused() after HTTP 429 or 503
    gate.drain()                               # earlier rounds go first, so that the last dialogues end together

Additive increase, multiplicative decrease. A refusal now and then says nothing about load and changes nothing; where
they come in a burst, the width is halved, once: requests that were sent before the cut do not count again. Every
answer widens it by a share of one place, so that it is one place wider after as many answers as it has places.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import structlog

BURST = 3.5
"""Refusals, less those that answers in between have made up for, that make a burst."""
MADE_UP = 0.1
"""What one answer makes up for: one refusal in eleven is taken for chance, however long it goes on."""
log = structlog.get_logger()


class Gate:
    """Lets in at most `width` at a time, the deepest first, those alike in the order in which they came."""

    def __init__(self, places: int) -> None:
        self.places = places
        """The widest that it ever is."""
        self._width = float(places)
        self._inside = 0
        self._first = -1
        """By what a depth is multiplied; the smallest goes first."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = count()
        self._refusals = 0.0
        self._cuts = 0

    @property
    def width(self) -> int:
        """Places that there are now, at least one."""
        return int(self._width)

    def drain(self) -> None:
        """No further dialogue begins: let in the shallowest first, or the last would be alone at the end."""
        if self._first < 0:
            self._first = 1
            self._waiting = [(-depth, ticket, turn) for depth, ticket, turn in self._waiting]
            heapq.heapify(self._waiting)

    @asynccontextmanager
    async def place(self, depth: int = 0) -> AsyncIterator[Place]:
        """Wait for a place, and keep it until the context ends."""
        await self._enter(depth)
        try:
            yield Place(self, self._cuts)
        finally:
            self._leave()

    async def _enter(self, depth: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._first * depth, next(self._tickets), turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._inside < self.width:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._inside += 1
                turn.set_result(None)

    def _answered(self) -> None:
        self._refusals = max(0.0, self._refusals - MADE_UP)
        self._width = min(self.places, self._width + 1 / self._width)

    def _refused(self, cuts: int) -> None:
        if cuts != self._cuts:
            return
        self._refusals += 1
        if self._refusals > BURST:
            self._width = max(1.0, self._width / 2)
            self._cuts += 1
            self._refusals = 0.0
            log.info("endpoint busy", width=self.width, places=self.places)


@dataclass(frozen=True, slots=True)
class Place:
    """One place in a gate, which is told how the request went."""

    gate: Gate
    cuts: int
    """How often the gate had been cut when the request was sent."""

    def answered(self) -> None:
        self.gate._answered()

    def refused(self) -> None:
        self.gate._refused(self.cuts)
