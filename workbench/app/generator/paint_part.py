"""Paint on a sample: which units of the layer are behind it, and what becomes of it without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from genmend.gans.editing.painted_units import LEVEL, painted_units, region_change
from genmend.workbench.app.generator.parts import Parts
from genmend.workbench.app.generator.session import Session

__all__ = ["paint_part", "painted_mask"]

N_FOUND = 12


def paint_part(parts: Parts, find: gr.Button, said: gr.HTML) -> None:
    """Have a button show the units behind the paint, and say what they do beside random ones."""

    def found(session: Session, painting: Any) -> Session:
        mask, latent = painted_mask(painting), session.latents[session.chosen : session.chosen + 1]
        with parts.inspected().shared.edited() as generator:
            ranked = painted_units(generator, latent, mask, [session.layer])[session.layer]
        best = ranked.best(N_FOUND)
        if not best:
            raise ValueError(
                f"No unit of {session.layer} is higher here than in nine of ten regions of this shape: paint another "
                "region, or choose another layer."
            )
        told = tuple(
            f"{ranked.inside[unit]:.2f} here, {ranked.outside[unit]:.2f} elsewhere, p {ranked.chance[unit]:.3f}"
            for unit in best
        )
        return replace(session, units=tuple(best), told=told, concept="", unit=None)

    def explained(place: Any, painting: Any) -> Any:
        session = place.session
        if session is None or not session.told:
            return ""
        mask, latent = painted_mask(painting), session.latents[session.chosen : session.chosen + 1]
        n_units = parts.inspected().n_units(session.layer)
        with parts.inspected().shared.edited() as generator:
            ranked = painted_units(generator, latent, mask, [session.layer])[session.layer]
            change = region_change(generator, latent, mask, session.layer, session.units, n_units)
        random = [f"{inside:.3f} and {outside:.3f}" for inside, outside in zip(
            change.random_inside, change.random_outside, strict=True)]  # fmt: skip
        n = len(session.units)
        return (
            f"<p>{ranked.n_found()} of {n_units} units of {session.layer} are higher here than in nine of ten regions "
            f"of this shape elsewhere in the sample; {ranked.n_by_chance(LEVEL):.0f} would be by chance. Switched off, "
            f"the {n} below change the painted pixels by {change.inside:.3f} and the others by {change.outside:.3f}; "
            f"{n} random units: {', '.join(random)}.</p>"
        )

    parts.on(find.click, found, [parts.paint]).then(
        explained, [parts.place, parts.paint], [said], show_progress="hidden", api_visibility="private"
    )


def painted_mask(painting: Any) -> NDArray[np.bool_]:
    """Where a visitor painted, (height, width) bool, of what an ImageEditor gives.

    Raises
    ------
    ValueError
        If nothing is painted.
    """
    layers = [] if not isinstance(painting, dict) else [np.asarray(layer) for layer in painting.get("layers") or []]
    masks = [layer[..., 3] > 0 for layer in layers if layer.ndim == 3 and layer.shape[2] == 4]
    if not masks or not any(mask.any() for mask in masks):
        raise ValueError("Nothing is painted: paint on the chosen sample, then look for the units behind it.")
    return np.logical_or.reduce(masks)
