"""Cure: move the flagged vectors of one layer back, layer after layer (Jeong et al., TASLP 2025, Algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genmend.tts.cures.case import Case
from genmend.tts.cures.way import Way
from genmend.tts.mending.repair import repair

__all__ = ["repaired_layers"]


def repaired_layers(case: Case) -> Iterator[tuple[str, Way]]:
    """Local repair in each layer of the reference, those where nothing is moved left out."""
    tokens, settings = case.tokens, case.settings
    if tokens is None:
        return
    for layer in case.reference.layers:
        done = repair(
            case.way.voice,
            case.reference,
            tokens,
            layer=layer,
            psi=settings.psi,
            copies=settings.copies,
            window=settings.window,
            seed=settings.seed,
        )
        if done.changed:
            yield layer, replace(case.way, vectors={layer: done.vectors})
