"""Say about how long a command will take, before its work begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from genmend.workbench.cli.options import note

if TYPE_CHECKING:
    from genmend.gans.duration import Pace

__all__ = ["say_duration"]

SHORTEST = 60.0  # seconds that are worth a word


def say_duration(generator: Any, extractor: str, seconds: Callable[[Pace], float]) -> None:
    """Time a batch, and note on stderr what `seconds` makes of it; nothing of what takes less than a minute."""
    from genmend.gans.duration import measure_pace

    # Whatever is wrong with the generator the job itself says, and better.
    with suppress(ValueError, TypeError, RuntimeError, LookupError, AttributeError):
        pace = measure_pace(generator, extractor)
        if (total := seconds(pace)) >= SHORTEST:
            note(pace.words(total))
