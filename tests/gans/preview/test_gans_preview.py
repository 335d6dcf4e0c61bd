"""A preview says what a correction does, beside as much done elsewhere, and what it could not check."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, SIDES, snapshot, toy_correction, toy_generator

from genmend.activations import AblateNeurons, CapNeurons, Correction, PullToMean, ScaleUnits, edited
from genmend.gans import corrected
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.correctors.contrast_descent import fit_descent
from genmend.gans.preview.correction_preview import preview_correction
from genmend.gans.preview.elsewhere import edits_elsewhere, latents_elsewhere
from genmend.gans.preview.settings import PreviewSettings
from genmend.manifold.features import load_extractor

load_extractor(EXTRACTOR)
FEW = PreviewSettings(n=24, n_shown=3, seed=5)


@pytest.fixture(scope="module")
def tried():
    generator = toy_generator()
    correction = toy_correction(generator)
    before = snapshot(generator.module)
    preview = preview_correction(generator, correction, settings=FEW)
    assert snapshot(generator.module) == before
    return generator, correction, preview


def test_the_control_edits_as_much_in_the_same_layers_and_nowhere_the_same():
    generator = toy_generator()
    mask = torch.zeros(6, SIDES["stem.act"], SIDES["stem.act"], dtype=torch.bool)
    mask[1, 0] = mask[2, :, 1] = True
    units = torch.zeros_like(mask)
    units[3:5] = True
    ladder = [
        [ScaleUnits("widen.act", (0, 3), 0.25), AblateNeurons("stem.act", mask)],
        [CapNeurons("stem.act", torch.ones(mask.shape), mask), CapNeurons("stem.act", torch.ones(mask.shape), units)],
        [
            PullToMean("detail.act", torch.zeros(4, 16, 16), strength=0.5),
            PullToMean("widen.act", torch.zeros(1), strength=0.5, units=(1,)),
        ],
    ]
    control, same = edits_elsewhere(generator, ladder, seed=1)
    assert same == ("PullToMean of detail.act",)
    (scaled, ablated), (capped, capped_units), (pulled, pulled_unit) = control
    assert len(scaled.units) == 2
    assert set(scaled.units).isdisjoint((0, 3))
    assert scaled.scale == 0.25
    for moved, given in ((ablated, mask), (capped, mask), (capped_units, units)):
        assert moved.mask.sum() == given.sum()
        assert not (moved.mask & given).any()
    assert (capped_units.mask.flatten(1).any(1) == capped_units.mask.flatten(1).all(1)).all()  # whole units
    assert pulled is ladder[2][0]
    assert set(pulled_unit.units).isdisjoint({1})
    assert edits_elsewhere(generator, ladder, seed=1)[0][0][0].units == scaled.units
    assert edits_elsewhere(generator, [[]]) == (((),), ())


def test_the_steps_are_the_rungs_on_every_sample(tried):
    generator, correction, preview = tried
    latents = generator.latents(FEW.n, FEW.seed)
    plain = generator.generate(latents)
    assert [step.name for step in preview.steps] == ["rung 1 of 3", "rung 2 of 3", "rung 3 of 3"]
    for rung, step in zip(correction.ladder, preview.steps, strict=True):
        with edited(generator.module, *rung):
            images = generator.generate(latents)
        assert torch.equal(step.images, images[torch.from_numpy(preview.shown)])
        assert step.change == pytest.approx(float((images - plain).abs().mean()))
        assert step.score.shape == step.control_score.shape == (FEW.n,)
    assert preview.steps[0].change < preview.steps[2].change
    assert torch.equal(preview.images, plain[torch.from_numpy(preview.shown)])
    assert np.array_equal(preview.shown, np.argsort(-preview.before, kind="stable")[:3])


def test_the_gate_and_the_stop_rule_do_as_the_correction_does(tried):
    generator, correction, preview = tried
    done = corrected(generator, correction)(generator.latents(FEW.n, FEW.seed))
    assert np.array_equal(done.rung, preview.gated.rung)
    assert torch.equal(preview.mended, done.images[torch.from_numpy(preview.shown)])
    assert np.array_equal(preview.flagged, done.gate_before > correction.gate.threshold)
    told = preview.to_dict()
    assert told["fit"] == "the weights it was made for"
    assert told["n_flagged"] == preview.flagged.sum() > 0
    assert told["gated"]["n_changed"] == done.changed.sum()
    assert told["control_gated"]["n"] == FEW.n
    assert 0 <= told["steps"][0]["control_flagged_of_others"] <= FEW.n - told["n_flagged"]


def test_another_model_is_not_tried(tried):
    _, correction, _ = tried
    other = preview_correction(toy_generator(seed=9), correction, settings=FEW)
    assert other.fit == "other weights than those it was made for"
    assert other.steps == ()
    assert other.not_checked[-1].startswith("Nothing was tried")
    allowed = preview_correction(toy_generator(seed=9), correction, settings=replace(FEW, allow_other_weights=True))
    assert len(allowed.steps) == 3
    other_layout = replace(correction, layout={"a": (1,)})
    found = preview_correction(toy_generator(), other_layout, settings=replace(FEW, allow_other_weights=True))
    assert (found.fit, found.steps) == ("a model of another layout than the one it was made for", ())
    any_weights = preview_correction(toy_generator(seed=9), replace(correction, weights_digests=None), settings=FEW)
    assert any_weights.fit.endswith("with any weights")
    assert len(any_weights.steps) == 3


def test_what_cannot_be_checked_is_said(tried):
    generator, correction, _ = tried
    bare = Correction.of(generator.module, [[ScaleUnits("widen.act", (0,), 0.0)]])
    preview = preview_correction(generator, bare, settings=FEW)
    assert preview.before is preview.gated is preview.mended is None
    assert preview.to_dict()["steps"][0]["flagged_of_flagged"] is None
    assert [len(preview.steps), *preview.shown] == [1, 0, 1, 2]
    assert "the file has no gate" in preview.not_checked[0]
    code = replace(correction, gate=replace(correction.gate, extractor="somebodys_module:run_me"))
    preview = preview_correction(generator, code, settings=FEW)
    assert preview.before is None
    assert any("code that would be run" in line for line in preview.not_checked)
    moved = replace(correction, generator_settings={"psi": 0.5})
    assert any("psi" in line for line in preview_correction(generator, moved, settings=FEW).not_checked)


def test_settings_out_of_range_are_refused():
    for wrong in ({"n": 1}, {"n_shown": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PreviewSettings(**wrong)


def test_latents_are_moved_as_far_elsewhere():
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 4, 5, generator=draw)
    moved = latents + 0.3 * torch.randn(6, 4, 5, generator=draw)
    moved[2] = latents[2]
    straight = latents_elsewhere(latents, moved, keeps_norm=False, seed=1)
    distance = (moved - latents).flatten(1).norm(dim=1)
    torch.testing.assert_close((straight - latents).flatten(1).norm(dim=1), distance)
    turned_to = moved / moved.flatten(1).norm(dim=1).view(-1, 1, 1) * latents.flatten(1).norm(dim=1).view(-1, 1, 1)
    turned_to[2] = latents[2]
    turned = latents_elsewhere(latents, turned_to, keeps_norm=True, seed=1)
    torch.testing.assert_close(turned.flatten(1).norm(dim=1), latents.flatten(1).norm(dim=1))
    angles = [torch.cosine_similarity(one.flatten(1), latents.flatten(1)) for one in (turned, turned_to)]
    torch.testing.assert_close(*angles)
    for found in (straight, turned):
        assert torch.equal(found[2], latents[2])
        assert found.dtype == latents.dtype
        assert torch.cosine_similarity((found - latents).flatten(1), (moved - latents).flatten(1))[0].abs() < 0.8


def test_a_correction_that_moves_latents_has_a_control_that_moves_them_too():
    generator = toy_generator()
    own = generator.latents(120, 3)
    contrast = Contrast.measure(generator, own, own.norm(dim=1).numpy(), ("stem.act", "widen.act"))
    descent = fit_descent(
        generator, contrast, generator.latents(80, 4), ("stem.act", "widen.act"), quantiles=(0.3, 0.1)
    )
    correction = replace(toy_correction(generator), descent=descent)
    preview = preview_correction(generator, correction, settings=FEW)
    assert [step.name for step in preview.steps][:2] == ["latents moved furthest", "rung 1 of 3"]
    assert preview.steps[0].change > 0
    assert preview.steps[0].control_change > 0
    done = corrected(generator, correction)(generator.latents(FEW.n, FEW.seed))
    assert np.array_equal(done.rung, preview.gated.rung)
    assert not np.array_equal(preview.control_gated.gate_after, preview.gated.gate_after)
