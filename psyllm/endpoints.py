"""Where the calls of a model go: its addresses, each with a gate of its own, and which of them takes a call.

A post has an address of its own, so that one server's prefix cache sees the whole dialogue; a request that failed is
sent to the next one. An address that cannot be reached is left out, and asked again by one call every few seconds.
The address is not in the key of an answer.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from psyllm.chat import Chat
from psyllm.desk import Desk
from psyllm.gate import Gate
from psyllm.settings import ModelSettings

AGAIN_S = 5.0
"""Seconds after which an address that was gone is tried again."""
log = structlog.get_logger()


@dataclass
class Address:
    """One address that serves a model."""

    base_url: str
    chat: Chat | Desk
    gate: Gate
    tried_again: float | None = None
    """Where it is gone: the time, on the monotonic clock, from which one call may try it."""

    @property
    def gone(self) -> bool:
        return self.tried_again is not None

    def lost(self) -> None:
        """No connection could be made."""
        if not self.gone:
            log.info("endpoint gone", address=self.base_url)
        self.tried_again = time.monotonic() + AGAIN_S

    def reached(self) -> None:
        if self.gone:
            log.info("endpoint back", address=self.base_url)
        self.tried_again = None

    def open(self) -> bool:
        """Whether a call may go there; of a gone one this says yes once every AGAIN_S."""
        if self.tried_again is None:
            return True
        if time.monotonic() < self.tried_again:
            return False
        self.tried_again = time.monotonic() + AGAIN_S
        return True


@dataclass(frozen=True)
class Endpoint:
    """A model that answers: its name in psyllm.toml, its settings, and where it does so."""

    name: str
    settings: ModelSettings
    addresses: tuple[Address, ...]

    @property
    def places(self) -> int:
        """Calls in flight at once, at most."""
        return sum(address.gate.places for address in self.addresses)

    @property
    def gone(self) -> bool:
        return all(address.gone for address in self.addresses)

    def address(self, post_id: str, tried: int = 0) -> Address:
        """Who takes the next request of a call that has failed `tried` times; the first choice if all are gone."""
        first = zlib.crc32(post_id.encode()) + tried
        order = [self.addresses[(first + n) % len(self.addresses)] for n in range(len(self.addresses))]
        return next((address for address in order if address.open()), order[0])


def endpoint_of(name: str, settings: ModelSettings, chats: Mapping[str, Chat | Desk], places: int) -> Endpoint:
    """The endpoint of one settings entry from its chat models by base URL, with so many places at each address."""
    return Endpoint(name, settings, tuple(Address(url, chat, Gate(places)) for url, chat in chats.items()))
