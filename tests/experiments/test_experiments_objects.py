"""The world of vessels: regions that do not overlap, pictures that follow their factors, a judge that sees breakage."""

from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import StableDiffusionPipeline

from experiments.objects.captions import caption, vocabulary
from experiments.objects.creativity import TRIVIAL, Bench, Regime, framed, row_of, ways_to_try
from experiments.objects.distil import Critic, draw_in_one_step, noise_and_texts, pair_piece, take_step
from experiments.objects.judge import (
    BOUNDS,
    CLASSES,
    CONTINUOUS,
    HUES,
    Verdict,
    build_reader,
    judge_pictures,
    load_reader,
    read_factors,
    refine_factors,
    split_outputs,
    spread_of,
)
from experiments.objects.models import build_pipeline
from experiments.objects.train_judge import break_pictures, soften
from experiments.objects.train_pipeline import draw_batch
from experiments.objects.ways import BANDS, PLAIN, searched_ways
from experiments.objects.world import (
    KINDS,
    SHAPE,
    SIDE,
    draw_factors,
    hue_distance,
    is_held_out,
    is_typical,
    is_valid,
    nearest_typical,
    render,
)
from experiments.pipeline_training import Training, encode, publish
from genmend.diffusion.amplification.gains import edits_by_slot
from genmend.storage.pieces import Work


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


def test_the_nearest_typical_vessel_is_typical_and_a_typical_one_is_its_own():
    kind = KINDS["cup"]
    moved = nearest_typical(drawn("valid"), kind, kind.textures[1])
    assert is_typical(moved, kind, 1e-6).all()
    typical = drawn("typical")
    own = nearest_typical(typical, kind, kind.textures[0])
    assert all(torch.allclose(own[name], typical[name].to(own[name].dtype)) for name in typical if name != "texture")


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


def test_a_distillation_learns_from_pairs_and_goes_on_exactly(tmp_path):
    def begun():
        torch.manual_seed(0)
        pipe = build_pipeline(tmp_path / "words", (8, 16, 16))
        pipe.set_progress_bar_config(disable=True)
        pipe.text_encoder.requires_grad_(False)
        return Training(pipe, 0, 3e-3, Critic())

    training = begun()
    pictures = pair_piece(training.pipeline, 0, 0, {"num_inference_steps": 2, "guidance_scale": 1.0})["pictures"]
    noise, texts = noise_and_texts(0, 0)
    step = partial(take_step, noise=noise, wanted=torch.from_numpy(pictures), texts=texts)
    words = training.pipeline.text_encoder.state_dict()
    kept = {name: value.clone() for name, value in words.items()}
    losses = [step(training, 0.1) for _ in range(4)]
    assert losses[-1] < losses[0]
    untaught = [value.clone() for value in training.networks["critic"].parameters()]
    training.save(tmp_path / "state.pt")
    other = begun()
    other.load(tmp_path / "state.pt")
    assert step(training, 0.5) == step(other, 0.5)
    taught = list(training.networks["critic"].parameters())
    assert not all(torch.equal(old, new) for old, new in zip(untaught, taught, strict=True))
    assert all(torch.equal(kept[name], value) for name, value in words.items())  # captions mean what they meant
    publish(training, lambda folder: build_pipeline(folder, (8, 16, 16)), tmp_path, tmp_path / "one_step", "")
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "one_step", dtype=torch.float32)
    drawn = pipe(texts[:2], latents=noise[:2], num_inference_steps=1, guidance_scale=0.0, output_type="latent").images
    torch.testing.assert_close(drawn, draw_in_one_step(pipe.unet, noise[:2], encode(pipe, texts[:2])))


@pytest.fixture(scope="module")
def reader():
    return load_reader()


@pytest.mark.parametrize(
    ("region", "creative", "held_out"), [("typical", 0.0, 0.0), ("rare", 0.9, 0.0), ("held out", 0.8, 0.8)]
)
def test_the_trained_judge_tells_the_regions_apart(reader, region, creative, held_out):
    factors = drawn(region, 15)
    pictures = soften(render(factors), np.random.default_rng(0))
    verdict = judge_pictures(reader, pictures, "cup")
    assert verdict.intact.all()
    assert abs(verdict.creative.float().mean() - creative) < 0.25
    assert abs(verdict.held_out.float().mean() - held_out) < 0.25
    broken = break_pictures(pictures, np.random.default_rng(0))
    assert all(judge_pictures(reader, changed, "cup").intact.float().mean() < 0.1 for changed in broken.values())


@pytest.mark.parametrize("change", TRIVIAL)
def test_the_trained_judge_does_not_count_trivial_changes(reader, change):
    pictures = render(drawn("typical", 8, "vase"))
    assert not judge_pictures(reader, TRIVIAL[change](pictures).clamp(0, 1), "vase").creative.any()


def test_the_spread_is_none_of_equal_vessels_and_grows_with_the_region():
    kinds = np.zeros(60, dtype=int)
    yes = torch.ones(60, dtype=torch.bool)
    spreads = []
    for region in ("typical", "rare"):
        factors = drawn(region, 60)
        spreads.append(spread_of(Verdict(torch.zeros(60), yes, yes, yes, yes, factors).traits("cup").numpy(), kinds))
    assert 0 < spreads[0] < spreads[1] < 1
    same = {name: values[:1].expand(60) for name, values in drawn("rare", 1).items()}
    assert spread_of(Verdict(torch.zeros(60), yes, yes, yes, yes, same).traits("cup").numpy(), kinds) == 0
    wrapped = Verdict(yes[:2] * 0, yes, yes, yes, yes, {**same, "hue": torch.tensor([0.99, 0.01])})
    hues = {name: values[:2] for name, values in wrapped.factors.items()}
    apart = Verdict(yes[:2] * 0, yes, yes, yes, yes, hues).traits("cup").numpy()
    assert spread_of(apart, kinds[:2]) == pytest.approx(2 * 0.02 / 10, abs=1e-6)


def test_every_way_to_draw_runs_and_the_bands_try_the_same_gains(tmp_path, reader):
    pipe = build_pipeline(tmp_path, (8, 16, 16))
    regime = Regime(tmp_path, {"num_inference_steps": 1, "guidance_scale": 0.0}, 2, range(2), range(2))
    bench = Bench(pipe, regime, reader, Work())
    ways = {way.family: way for way in (PLAIN, *ways_to_try(regime, "creative"))}
    pictures = {family: bench.pictures(way, "creative", "cup", range(2)) for family, way in ways.items()}
    plain = pictures.pop("plain")
    assert all(not torch.equal(plain, changed) for changed in pictures.values())
    found = bench.verdicts(PLAIN, "plain", range(2))
    assert all(len(values) == 2 * len(KINDS) for values in found.values())
    tried = [[way.strength for way in searched_ways(band, 8)] for band in BANDS]
    assert all(strengths == tried[0] for strengths in tried)
    row = row_of(found, found)
    assert row["more_creative"] == (0.0, 0.0, 0.0)
    assert len(framed(bench, PLAIN, "plain", "cup")) == 2
