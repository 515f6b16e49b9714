"""Words of others on a terminal: the control characters of a post, a file name or an answer must not steer it.

>>> plain("\x1b[31mred\x1b[0m")
'[31mred[0m'
"""

from __future__ import annotations

_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


def plain(text: str) -> str:
    """The text without control characters; line ends and tabs stay."""
    return text.translate(_CONTROLS)
