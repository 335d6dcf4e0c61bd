"""The world of vessels: regions that do not overlap, pictures that follow their factors, a judge that sees breakage."""

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from experiments.objects.captions import caption, vocabulary
from experiments.objects.judge import (
    BOUNDS,
    CLASSES,
    CONTINUOUS,
    HUES,
    Verdict,
    build_reader,
    read_factors,
    refine_factors,
    split_outputs,
)
from experiments.objects.models import build_pipeline
from experiments.objects.train_judge import break_pictures
from experiments.objects.train_pipeline import draw_batch
from experiments.objects.world import (
    KINDS,
    SHAPE,
    SIDE,
    draw_factors,
    hue_distance,
    is_held_out,
    is_typical,
    is_valid,
    render,
)
from genmend.diffusion.amplification.gains import edits_by_slot


def drawn(region, n=200, kind="cup", seed=0):
    return draw_factors(KINDS[kind], n, np.random.default_rng(seed), region)


@pytest.mark.parametrize("name", KINDS)
def test_the_regions_of_a_kind_are_what_they_say(name):
    kind = KINDS[name]
    typical, rare, held_out = (drawn(region, kind=name) for region in ("typical", "rare", "held out"))
    assert is_typical(typical, kind).all()
    assert not is_held_out(typical, kind).any()
    assert not (is_typical(rare, kind) | is_held_out(rare, kind)).any()
    assert is_held_out(held_out, kind).all()
    assert all(is_valid(part, kind).all() for part in (typical, rare, held_out))
    others = [is_valid(rare, other) for other_name, other in KINDS.items() if other_name != name]
    assert not torch.stack(others).any()  # the boxes of shapes do not overlap


def test_pictures_follow_their_factors_and_stay_in_range():
    factors = drawn("valid", 80)
    pictures = render(factors)
    assert pictures.shape == (80, 3, SIDE, SIDE)
    assert 0 <= pictures.min() < pictures.max() <= 1
    for name in (*SHAPE, "hue", "light", "handles", "lid", "texture"):
        other = factors | {name: factors[name].roll(1)}
        changed = (render(other) - pictures).abs().amax((1, 2, 3)) > 0.02
        differ = factors[name] != other[name]
        assert changed[differ].float().mean() > 0.8, name
        assert not changed[~differ].any(), name


def test_hues_are_a_circle():
    assert float(hue_distance(0.95, 0.05)) == pytest.approx(0.1)
    assert float(hue_distance(0.2, 0.7)) == pytest.approx(0.5)


def test_captions_are_borne_out_by_the_picture():
    factors = {"hue": torch.tensor([0.0]), "texture": torch.tensor([2]), "handles": torch.tensor([2]),
               "lid": torch.tensor([1])}  # fmt: skip
    rng = np.random.default_rng(0)
    texts = {caption("cup", factors, 0, rng, creative=True) for _ in range(1000)}
    assert any(text.endswith("a creative red dotted two-handled lidded cup") for text in texts)
    assert all("creative" in text for text in texts)
    assert {word for text in texts for word in text.replace("-", " ").split()} <= set(vocabulary())


def test_no_training_picture_is_held_out_and_few_are_creative(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "experiments.objects.train_pipeline.render",
        lambda factors: (seen.append(factors), torch.zeros(32, 3, 48, 48))[1],
    )
    texts = [text for step in range(12) for text in draw_batch(step, np.random.default_rng(step))[1]]
    share = sum("creative" in text for text in texts) / len(texts)
    assert 0 < share < 0.1
    assert not any(bool(((f["handles"] == 2) & (f["lid"] == 1)).any()) for f in seen)


def test_the_judge_reads_what_was_rendered_and_sees_what_is_broken():
    n = 10
    factors = drawn("valid", n)
    pictures, rng = render(factors), np.random.default_rng(1)
    broken = break_pictures(pictures, rng)
    shown = torch.cat([pictures, *broken.values()])
    sets = len(broken) + 1
    moved = {name: torch.cat([values] * sets) for name, values in factors.items()}
    moved |= {name: moved[name] + 0.02 * torch.from_numpy(rng.standard_normal(n * sets).astype("f")) for name in SHAPE}
    residual = (render(refine_factors(moved, shown)) - shown).abs().mean((1, 2, 3))
    intact = residual[:n]
    assert intact.median() < 0.006
    for name, values in zip(broken, residual[n:].split(n), strict=True):
        assert (values > intact.max()).float().mean() >= 0.8, name


def test_the_outputs_of_the_reader_are_taken_apart():
    outputs = torch.zeros(3, len(CONTINUOUS) + 2 * len(HUES) + sum(CLASSES.values()))
    continuous, hues, logits = split_outputs(outputs)
    assert (continuous.shape, hues["trim"].shape, logits["texture"].shape) == ((3, 10), (3, 2), (3, 4))
    read = read_factors(build_reader().eval(), torch.rand(2, 3, SIDE, SIDE))
    assert set(read) == {*CONTINUOUS, *HUES, *CLASSES}
    assert set(BOUNDS) == set(CONTINUOUS)


def test_creative_is_intact_right_and_new():
    yes, no = torch.tensor([True]), torch.tensor([False])
    for intact, right, rare, held_out in ((no, yes, yes, no), (yes, no, yes, no), (yes, yes, no, no)):
        assert not Verdict(torch.zeros(1), intact, right, rare, held_out, {}).creative
    assert Verdict(torch.zeros(1), yes, yes, no, yes, {}).creative


def test_published_gains_fit_the_pipeline_slot_by_slot(tmp_path):
    pipeline = build_pipeline(tmp_path, blocks=(8, 8, 8))
    edits = edits_by_slot(pipeline.unet, {"down0": 1.1, "down1": 1.2, "down2": 1.3, "mid": 1.4}, cutoff=5)
    assert [edit.layer for edit in edits] == ["down_blocks.0", "down_blocks.1", "down_blocks.2", "mid_block"]
