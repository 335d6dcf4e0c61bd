"""What the facts of an amplification's file say, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genmend.activations.correction_description import described_model, edited_layers
from genmend.storage.hub.kinds import Description

__all__ = ["describe_amplification"]


def describe_amplification(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what the file that `save_amplification` wrote holds, of its facts alone."""
    info, edits = facts["info"], facts["ladder"][0]
    gains = [f"{edit['layer']} {edit['gain']}" for edit in edits if "gain" in edit]
    strengths = [f"{edit['layer']} {edit['strength']}" for edit in edits if edit.get("strength", 1.0) != 1.0]
    window = info.get("sigma_window")
    does = {
        "edits": ", ".join(sorted({str(edit["type"]) for edit in edits})),
        "layers": edited_layers([edits]),
        "gain by layer (1 changes nothing)": ", ".join(gains) or None,
        "share of the change by layer, where not 1": ", ".join(strengths) or None,
        "noise levels": "all"
        if window is None
        else f"{window[0]} to {window[1] if window[1] is not None else 'the highest'}",
        "prompts it was tried with": info.get("prompts"),
    }
    figures = info.get("figures") or {}
    return Description(
        title=f"Amplification of a {info['pipeline']}" if info.get("pipeline") else "Amplification",
        what="Low spatial frequencies of a denoiser's blocks made stronger, without retraining: what it draws changes "
        "from the usual to the less usual, and may break where the gains are too high.",
        model=described_model(facts),
        does={name: value for name, value in does.items() if value is not None},
        figures={str(name).replace("_", " "): value for name, value in figures.items() if value is not None},
        judged_by="Amplified against unamplified samples of the same prompts and seeds, by whoever made it: a ratio of "
        "1 is no change. There is no control among them, such as other frequencies amplified as much."
        if figures
        else "",
        use="from genmend.activations import Correction\nfrom genmend.diffusion import amplified\n\n"
        'with amplified(pipe, correction=Correction.from_pretrained("{source}")):\n'
        '    image = pipe("a creative chair").images[0]',
        preview=True,
        not_told=[] if figures else ["What it does to novelty and usability: it was saved without figures."],
    )
