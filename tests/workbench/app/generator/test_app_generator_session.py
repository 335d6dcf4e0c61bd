"""What a visitor of the Generator tab does, without a browser: samples, units, edits, paint, what the page says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, LAYERS, snapshot, toy_correction, toy_generator

from genmend.gans.editing.edit_effect import random_units
from genmend.gans.editing.unit_labels import LayerLabels
from genmend.gans.settings import DissectSettings
from genmend.manifold.features import load_extractor

pytest.importorskip("gradio")

from genmend.workbench.app.generator import inspected as inspected_module
from genmend.workbench.app.generator import views
from genmend.workbench.app.generator.inspected import Inspected
from genmend.workbench.app.generator.paint_part import painted_mask
from genmend.workbench.app.generator.session import (
    begun,
    control,
    edited_again,
    refreshed,
    scored,
    with_layer,
    with_rows,
    with_units,
)


@pytest.fixture
def toy(tmp_path):
    """A generator that nobody has inspected."""
    load_extractor(EXTRACTOR)
    return Inspected(toy_generator(), tmp_path)


@pytest.fixture
def judged(toy):
    """The same with a gate."""
    toy.gate = toy_correction(toy_generator()).gate
    return toy


def test_the_first_screen_of_an_unknown_generator(toy):
    session = begun(toy)
    assert toy.n_shown == len(session.rows) == len(session.before) == 24
    assert session.scores_before is None
    assert set(session.units) == set(range(5))
    assert session.layer == LAYERS[1]
    assert "not learnt yet" in views.verdict(toy, session)
    assert views.samples(toy, session).count("<button") == 24
    assert views.units(toy, session).count('src="data:image/webp;base64,') == 5
    with pytest.raises(ValueError, match="Learn what is normal"):
        toy.most_broken(0)


def test_a_unit_is_switched_off_and_on_again(judged):
    start = begun(judged)
    before = snapshot(judged.shared._generator.module)
    off = with_units(judged, start, [1, 2], 0.0)
    assert off.scores_after is None  # images first
    assert "…" in views.samples(judged, off)
    off = scored(judged, off)
    assert not torch.equal(off.after, start.after)
    assert off.scores_after.shape == (24,)
    assert "off" in views.units(judged, off)
    assert "widen.act 1 off, widen.act 2 off" in views.edited_units(judged, off)
    effect = control(judged, off)
    assert "as many random units" in views.verdict(judged, off, effect)
    assert effect.after is off.scores_after
    undone = edited_again(judged, replace(off, history=off.history.undone()))
    assert torch.equal(undone.after, start.before)
    assert undone.scores_after is undone.scores_before
    assert control(judged, undone) is None
    assert snapshot(judged.shared._generator.module) == before


def test_scores_are_found_once_for_all_sessions_and_anew_with_another_gate(judged, monkeypatch):
    asked = []
    real = inspected_module.gate_scores
    monkeypatch.setattr(
        inspected_module, "gate_scores", lambda gate, images: asked.append(len(images)) or real(gate, images)
    )

    def clicked(unit):
        off = scored(judged, with_units(judged, begun(judged), [unit], 0.0))
        return off, control(judged, off)

    first, effect = clicked(1)
    n_asked = len(asked)
    second, again = clicked(1)
    assert len(asked) == n_asked
    np.testing.assert_array_equal(second.scores_after, real(judged.gate, first.after))
    np.testing.assert_array_equal(again.random, effect.random)
    other, of_other = clicked(3)
    assert not np.array_equal(other.scores_after, first.scores_after)
    edits = random_units(judged.shared, other.history.edits(), 0)
    np.testing.assert_array_equal(of_other.random[0], real(judged.gate, judged.shared.images(other.latents, edits)))
    stronger = scored(judged, with_units(judged, begun(judged), [1], 0.5))
    assert not np.array_equal(stronger.scores_after, first.scores_after)
    judged.gate = replace(judged.gate, threshold=judged.gate.threshold + 1)
    n_asked = len(asked)
    assert clicked(1)[1].threshold == judged.gate.threshold
    assert len(asked) > n_asked


def test_other_samples_keep_the_edits(judged):
    session = with_units(judged, begun(judged), [0], 2.5)
    ranking, n = judged.most_broken(3)
    assert len(ranking) == n == 128
    worst = scored(judged, with_rows(judged, session, 3, ranking[:24]))
    assert worst.scores_before[0] == worst.scores_before.max()
    assert worst.history is session.history
    assert not torch.equal(worst.before, worst.after)
    assert worst.chosen == 0


def test_a_rung_and_units_act_together_and_the_gate_decides_where_it_is_asked(judged):
    correction = toy_correction(toy_generator())
    start = begun(judged)
    rung = edited_again(judged, replace(start, correction=correction, rung=2))
    both = with_units(judged, rung, [1], 0.0)
    decided = edited_again(judged, replace(start, correction=correction))
    pairs = [(start, rung), (rung, both), (rung, decided)]
    assert not any(torch.equal(one.after, other.after) for one, other in pairs)
    unchanged = (decided.after == start.before).flatten(1).all(1)
    assert 0 < unchanged.sum() < 24  # the gate leaves most as they are
    assert "rung 3 of 3" in views.edited_units(judged, rung)


def test_units_by_layer_and_concept(toy):
    rows = toy.labels.layers["stem.act"]
    labelled = LayerLabels(
        **{**vars(rows), "concept": np.array([0, 1, 0, -1, 1, 0]), "detector": np.array([1, 1, 0, 0, 1, 1], bool)}
    )
    toy.labels = replace(toy.labels, concepts=("sky", "<b>"), layers={**toy.labels.layers, "stem.act": labelled})
    session = refreshed(toy, begun(toy))
    assert set(with_layer(toy, session, "stem.act", "sky").units) == {0, 5}
    assert set(with_layer(toy, session, "stem.act", "no such concept").units) == set(range(6))
    shown = views.units(toy, with_layer(toy, session, "stem.act", "<b>"))
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "IoU" in shown


def test_what_is_learnt_is_shown_to_all_sessions(toy, monkeypatch):
    session = begun(toy)
    settings = replace(inspected_module.SCORE, extractor=EXTRACTOR, n_statistics=60, n_reference=60)
    monkeypatch.setattr(inspected_module, "SCORE", settings)
    monkeypatch.setattr(inspected_module, "LABELS", DissectSettings(n_statistics=16, n_images=16))
    toy.learn_normal()()
    toy.label_units()()
    assert toy.stop_rule is not None
    later = refreshed(toy, session)
    assert later.scores_before is not None
    assert later.labels is toy.labels
    assert toy.labels.concepts
    assert refreshed(toy, later) is later


@pytest.mark.parametrize("painting", [None, {}, {"layers": []}, {"layers": [np.zeros((4, 4, 4), np.uint8)]}])
def test_nothing_painted_is_said(painting):
    with pytest.raises(ValueError, match="Nothing is painted"):
        painted_mask(painting)


def test_paint_of_any_colour_is_paint():
    layer = np.zeros((6, 8, 4), np.uint8)
    layer[2, 3] = (0, 0, 0, 255)
    other = np.zeros_like(layer)
    other[5, 7] = (255, 210, 26, 90)
    assert np.argwhere(painted_mask({"layers": [layer, other]})).tolist() == [[2, 3], [5, 7]]
