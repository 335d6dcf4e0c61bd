"""What the facts of a correction's file say, in words; the arrays are not needed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from genmend.activations.correction import Correction
from genmend.activations.digests import AS_STORED, layout_difference, model_layout, same_but_for_dtype, weights_digest
from genmend.storage.hub.kinds import Description, plain_word

__all__ = [
    "OTHER_LAYOUT",
    "OTHER_WEIGHTS",
    "describe_correction",
    "described_model",
    "edited_layers",
    "model_fit",
]

RANDOM_UNITS = "score_change_of_random_units"  # the control, where a correction was measured beside one
_NO_CONTROL = "What as many and as strong edits at random places do: `genmend attach` measures that control."
OTHER_LAYOUT = "a model of another layout than the one it was made for"
OTHER_WEIGHTS = "other weights than those it was made for"


def describe_correction(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what a correction's file holds, of its facts alone."""
    info, gate, rungs = facts["info"], facts["gate"], facts["ladder"]
    amounts = [rung.get("amount") for rung in info.get("rungs") or ()]
    does = {
        "method": info.get("method"),
        "learnt from": info.get("learnt_from") or info.get("gate_trained_on"),
        "edits": ", ".join(sorted({str(edit["type"]) for rung in rungs for edit in rung})) or "none",
        "layers": edited_layers(rungs),
        "rungs, from weak to strong": len(rungs),
        "share of each layer's neurons, by rung": amounts if amounts and None not in amounts else None,
        "latents moved first, targets": len(info["descent"]["targets"]) if info.get("descent") else None,
        "gate looks through": None if gate is None else gate["extractor"],
        "gate opens above": None if gate is None else gate["threshold"],
        "seed": info.get("seed"),
        "licence, as its maker says": info.get("licence"),
        "origin": info.get("origin"),
        "versions": info.get("versions"),
    }
    measured, made_with = dict(info.get("measured") or {}), info.get("made_with")
    judge = measured.pop("judge", None)
    use = (
        "from genmend.activations import Correction\nfrom genmend.gans import corrected\n\n"
        'mend = corrected(generator, Correction.from_pretrained("{source}"))\nimages = mend(latents).images'
        if gate is not None and "stop_rule" in info
        else "from genmend.activations import Correction, edited\n\n"
        'correction = Correction.from_pretrained("{source}")\n'
        "with edited(model, *correction.ladder[-1]):\n    output = model(inputs)"
    )
    made_for = info.get("generator") or info.get("voice")
    return Description(
        title=f"Correction of {made_for}" if made_for else "Correction",
        what="Edits that mend samples of one pretrained model, without retraining: put on in a line and taken off again"
        + (", for the samples alone that its gate opens to." if gate is not None else "."),
        model=described_model(facts),
        does={name: value for name, value in does.items() if value is not None},
        figures=_figures(measured, judge),
        judged_by=_judged_by(measured, judge),
        use=use,
        preview=not any(str(edit["type"]).startswith("tts.") for rung in rungs for edit in rung),
        reproduce=_command(info.get("generator"), made_with) if made_with else "",
        not_told=[
            *([] if measured else ["How many samples it changes, and how they score before and after."]),
            *([] if judge else ["What another judge than its own gate says of the mended samples."]),
            *([] if RANDOM_UNITS in measured else [_NO_CONTROL]),
            *([] if made_with else ["With which settings it was made."]),
        ],
    )


def described_model(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The model that a correction was made for."""
    info, digests = facts["info"], facts["weights_digests"]
    model = {
        "model": info.get("generator") or info.get("pipeline") or info.get("voice"),
        "settings of the model": info.get("generator_settings") or None,
        "layout": f"{len(facts['layout'])} tensors, SHA-256 {facts['layout_digest']}",
        "weights": "any of this layout" if digests is None else f"SHA-256 {digests['as_stored']}",
    }
    return {name: value for name, value in model.items() if value is not None}


def edited_layers(rungs: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Names of the layers that any rung edits, in their order."""
    return ", ".join(dict.fromkeys(str(edit["layer"]) for rung in rungs for edit in rung if "layer" in edit)) or "none"


def model_fit(correction: Correction, model: nn.Module) -> str:
    """Say in words whether a model is the one that a correction was made for.

    Returns
    -------
    str
        `OTHER_LAYOUT`, `OTHER_WEIGHTS`, or one of three that fit: the same weights, the same in another dtype, any
        weights of the layout.
    """
    if layout_difference(correction.layout, model_layout(model)):
        return OTHER_LAYOUT
    if correction.weights_digests is None:
        return "a model of the layout it was made for, with any weights"
    digest = weights_digest(model)
    if digest == correction.weights_digests.get(AS_STORED):
        return "the weights it was made for"
    in_other_dtype = same_but_for_dtype(model, correction.weights_digests)
    return "the weights it was made for, in another dtype" if in_other_dtype else OTHER_WEIGHTS


def _figures(measured: Mapping[str, Any], judge: Mapping[str, Any] | None) -> dict[str, Any]:
    found = {str(name).replace("_", " "): value for name, value in measured.items()}
    if judge:
        found |= {f"by {judge['extractor']}: {name.replace('_', ' ')}": value for name, value in judge.items()}
        del found[f"by {judge['extractor']}: extractor"]
    return {name: value for name, value in found.items() if value is not None}


def _judged_by(measured: Mapping[str, Any], judge: Mapping[str, Any] | None) -> str:
    if not measured:
        return ""
    if RANDOM_UNITS in measured:
        return "Scores by its gate, before and after, beside as many random units of the same layers."
    own = "These are counts and scores of its own gate and stop rule, which it was fitted to."
    if judge:
        return f"{own} Another extractor that had no part in it says the rest."
    return f"{own} No other judge was asked."


def _command(generator: str | None, made_with: Mapping[str, Any]) -> str:
    """The command that made it, as far as a line can say it; files of whoever made it stand in capitals."""
    settings = made_with["settings"]
    given = {
        "latents": "LATENTS.npy",
        "method": made_with["method"],
        "labels": "LABELS" if made_with["labels"] else None,
        "detector": "DETECTOR.safetensors" if made_with["detector"] else None,
        "normal": "NORMAL_IMAGES" if made_with["normal"] else None,
        "masks": f"explain:{made_with['masks'].partition(' (')[0]}" if made_with["masks"] else None,
        **{name: settings[name] for name in ("extractor", "n_statistics", "n_reference", "flagged_share", "seed")},
        "out": "mended",
    }
    words = ["genmend", "correct", plain_word(generator, "MODEL")]
    for name, value in given.items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    for name, value in made_with["parameters"].items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
