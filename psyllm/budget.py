"""What a run may spend: dollars and tokens over all its starts, hours in one.

    budget = Budget(max_cost=5.0)
    budget.check({"deepseek": settings})          # a limit in dollars needs prices
    budget.reached(Spent(cost_usd=5.1, tokens=0))  # '--max-cost 5: $5.10 spent by this run so far'

When a limit is reached no new call starts; calls in flight end, and so a run may spend a little more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psyllm.errors import UsageError
from psyllm.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls took."""

    cost_usd: float = 0.0
    """Of those with a price."""
    tokens: int = 0
    """Prompt, cached ones too, and completion."""
    unpriced: int = 0
    """Answers without a price."""


@dataclass(frozen=True)
class Budget:
    """Limits as the command line gives them; None means no limit."""

    max_cost: float | None = None
    """USD."""
    max_tokens: int | None = None
    max_hours: float | None = None
    """Of one start."""

    def check(self, models: Mapping[str, ModelSettings]) -> None:
        """Raises UsageError where dollars are limited and an answer would have no price; people at a desk have none."""
        bare = [name for name, model in models.items() if model.price is None and model.kind != "desk"]
        if self.max_cost is not None and bare:
            raise UsageError(
                f"--max-cost needs a price for {', '.join(bare)}",
                hint=f"give [models.{bare[0]}] price = {{ input = USD, output = USD }} per million tokens,"
                " or limit --max-tokens",
            )

    def reached(self, spent: Spent) -> str:
        """Which limit, and what was spent; '' while there is room."""
        if self.max_cost is not None and spent.cost_usd >= self.max_cost:
            return f"--max-cost {self.max_cost:g}: ${spent.cost_usd:,.4g} spent by this run so far"
        if self.max_tokens is not None and spent.tokens >= self.max_tokens:
            return f"--max-tokens {self.max_tokens}: {spent.tokens} tokens spent by this run so far"
        return ""
