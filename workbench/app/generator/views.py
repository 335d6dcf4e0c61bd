"""The parts of the tab as HTML: tiles that can be clicked, the verdict, what is edited, the facts of a correction."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from genmend.gans.editing.edit_effect import EditEffect
from genmend.workbench.app.generator.inspected import Inspected
from genmend.workbench.app.generator.pictures import enlarged, in_page
from genmend.workbench.app.generator.session import Session
from genmend.workbench.app.page_parts import table_html

__all__ = [
    "CLICKED",
    "MOVED",
    "compared",
    "edited_units",
    "effect_table",
    "samples",
    "units",
    "verdict",
]

# Tells which tile was clicked, and keeps the focus on it when the tiles are drawn anew.
CLICKED = """
let last = null;
element.addEventListener('click', event => {
  const tile = event.target.closest('button[data-index]');
  if (!tile) return;
  last = tile.dataset.index;
  trigger('select', {index: Number(tile.dataset.index)});
});
new MutationObserver(() => {
  if (last === null || (document.activeElement && document.activeElement !== document.body)) return;
  const tile = element.querySelector(`button[data-index="${last}"]`);
  if (tile) tile.focus({preventScroll: true});
}).observe(element, {childList: true, subtree: true});
"""


# Moves the edge between the two pictures of `compared`.
MOVED = """
element.addEventListener('input', event => {
  event.target.closest('.compared').style.setProperty('--at', `${event.target.value}%`);
});
"""


def compared(session: Session) -> str:
    """The chosen sample before the edit, on the left of an edge that can be moved, and after it."""
    before, after = (enlarged(images[session.chosen]) for images in (session.before, session.after))
    row = session.rows[session.chosen]
    return (
        f'<div class="compared" role="group" aria-label="Sample {row} before and after">'
        f'<img src="{after}" alt="Sample {row} after"><img class="before" src="{before}" alt="Sample {row} before">'
        '<span class="edge"></span><span class="left">before</span><span class="right">after</span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="Share of sample {row} shown as before"></div>'
    )


def samples(inspected: Inspected, session: Session) -> str:
    """The grid: each sample as it is now, with its score."""
    limit = None if inspected.gate is None else inspected.gate.threshold
    tiles = []
    for place, (row, picture) in enumerate(zip(session.rows, in_page(session.after), strict=True)):
        words, broken = f"sample {row}", False
        if session.scores_before is not None and session.scores_after is None:
            words = f"{_signed(float(session.scores_before[place]))} → …"
        elif limit is not None and session.scores_after is not None and session.scores_before is not None:
            now, was = float(session.scores_after[place]), float(session.scores_before[place])
            broken = now > limit
            moved = f"{_signed(was)} → {_signed(now)}" if abs(now - was) >= 0.05 else _signed(now)
            words = f"{moved}{' broken' if broken else ''}"
        tiles.append(_tile(place, picture, words, place == session.chosen, broken, f"Sample {row}: {words}"))
    return _tiles(tiles, "samples", f"{len(tiles)} samples of {inspected.name}")


def units(inspected: Inspected, session: Session) -> str:
    """The units that are shown, each with what excites it, its concept and its strength."""
    labels, layer = inspected.labels, session.layer
    tiles = []
    for place, (unit, picture) in enumerate(zip(session.units, inspected.pictures(layer, session.units), strict=True)):
        strength = session.history.strength(layer, unit)
        state = "" if strength == 1 else " off" if strength == 0 else f" ×{strength:g}"
        words = f"{unit}{'' if labels.label(layer, unit) == 'none' else f' {labels.label(layer, unit)}'}"
        more = session.told[place] if place < len(session.told) else _agreement(inspected, layer, unit)
        tiles.append(
            _tile(
                place,
                picture,
                f"{words}{state}",
                strength != 1,
                strength == 0,
                f"Unit {words}{state}. {more}",
                more,
            )
        )
    if not tiles:
        return "<p>No unit of this layer fits: choose another concept or layer.</p>"
    return _tiles(tiles, "units", f"Units of {layer}")


def _agreement(inspected: Inspected, layer: str, unit: int) -> str:
    rows = inspected.labels.layers[layer]
    if rows.concept[unit] < 0:
        return ""
    doubt = "" if rows.detector[unit] else ", not above chance"
    return f"IoU {rows.iou[unit]:.2f}, by chance {rows.null[unit]:.2f}{doubt}"


def _tiles(tiles: Sequence[str], kind: str, label: str) -> str:
    return f'<div class="tiles {kind}" role="group" aria-label="{escape(label)}">{"".join(tiles)}</div>'


def _tile(place: int, picture: str, words: str, pressed: bool, marked: bool, label: str, more: str = "") -> str:
    small = f"<small>{escape(more)}</small>" if more else ""
    return (
        f'<button type="button" class="tile{" marked" if marked else ""}" data-index="{place}" '
        f'aria-pressed="{str(pressed).lower()}" title="{escape(label)}" aria-label="{escape(label)}">'
        f'<img src="{picture}" alt=""><span>{escape(words)}</span>{small}</button>'
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def verdict(inspected: Inspected, session: Session, effect: EditEffect | None = None) -> str:
    """One sentence on the samples that are shown, and what the edit did to them."""
    n = len(session.rows)
    if session.scores_after is None and session.scores_before is not None:
        return '<p class="verdict">Scoring the samples.</p>'
    if inspected.gate is None or session.scores_after is None or session.scores_before is None:
        text = f"{n} samples of {inspected.name}. Which of them are broken is not learnt yet: see below."
        return f'<p class="verdict">{escape(text)}</p>'
    limit = inspected.gate.threshold
    now, was = int((session.scores_after > limit).sum()), int((session.scores_before > limit).sum())
    text = f"{now} of {n} samples look broken (score above {_signed(limit)})"
    if not session.is_edited:
        return f'<p class="verdict">{escape(text)}.</p>'
    change = float((session.scores_after - session.scores_before).mean())
    text += f"; {was} did before the edit. Mean score {_signed(change)}"
    text += "" if effect is None else f"; as many random units: {_all_signed(effect.random_change)}"
    return f'<p class="verdict">{escape(text)}.</p>'


def _all_signed(values: Sequence[float] | Any) -> str:
    return ", ".join(_signed(float(value)) for value in values)


def effect_table(effect: EditEffect) -> str:
    """The effect on many samples, with every control."""
    rows = [
        ("before", float(effect.before.mean()), effect.flagged_before),
        ("with the edit", float(effect.after.mean()), effect.flagged_after),
        *(
            (f"other units by lot, draw {draw}", float(scores.mean()), float(share))
            for draw, (scores, share) in enumerate(zip(effect.random, effect.random_flagged, strict=True), 1)
        ),
    ]
    said = (
        "The edit lowers the score more than the same edit of other units does."
        if effect.beats_control
        else "The edit does no better than the same edit of other units: it has found nothing."
    )
    cells = [[name, _signed(score), f"{share:.1%}"] for name, score, share in rows]
    caption = f"{len(effect.before)} samples; higher scores are more broken"
    return f"<p>{said}</p>{table_html(['units', 'mean score', 'look broken'], cells, caption)}"


def edited_units(inspected: Inspected, session: Session) -> str:
    """What is done to the units now."""
    rows = [
        (layer, unit, inspected.labels.label(layer, unit) if layer in inspected.labels.layers else "", strength)
        for layer, of_layer in session.history.strengths.items()
        for unit, strength in of_layer.items()
    ]
    correction = "" if session.correction is None else f"<p>Attached: {escape(_attached(session))}.</p>"
    if not rows:
        return correction or "<p>No unit is edited. Click one to switch it off.</p>"
    shown = rows[:12]
    words = ", ".join(
        f"{layer} {unit}{f' ({label})' if label not in ('', 'none') else ''} "
        f"{'off' if strength == 0 else f'×{strength:g}'}"
        for layer, unit, label, strength in shown
    )
    rest = f" and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
    return f"{correction}<p>Edited: {escape(words)}{rest}.</p>"


def _attached(session: Session) -> str:
    assert session.correction is not None
    method = str(session.correction.info.get("method", "a correction"))
    return method if session.rung < 0 else f"{method}, rung {session.rung + 1} of {len(session.correction.ladder)}"
