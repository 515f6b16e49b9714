"""Recipes: YAML files of TRL's own configuration names and the few that we add. Reading one needs no torch.

read_recipe(Path("trainer/recipes/smollm2-135m/sft-cpu.yaml"), ["max_steps=5"])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from psyllm.errors import UsageError

Recipe = dict[str, Any]


def read_recipe(file: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe with `key=value` settings laid over it. Raises UsageError for what is no recipe or no setting."""
    try:
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist", hint="recipes are in trainer/recipes/MODEL/STAGE.yaml") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} is no recipe: {error}", hint="a recipe is YAML: key: value") from error
    if not isinstance(recipe, dict):
        raise UsageError(f"{file} is no recipe: not a mapping", hint="a recipe is YAML: key: value")
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting}: no key=value", hint="e.g. --set learning_rate=2e-5")
        try:
            recipe[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {setting}: no YAML value", hint="lists are written [a, b]") from error
    # YAML reads a bare `no` as false, and TRL's strategies have that very name
    return {key: "no" if value is False and key.endswith("_strategy") else value for key, value in recipe.items()}
