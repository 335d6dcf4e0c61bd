"""What chance gives: overlap with other samples' masks against loops, its level; masks no larger than needed."""

import numpy as np
import pytest
import torch
from gans_toys import toy_generator
from scipy import stats

from genmend.gans.dissection import count_at, count_at_pairs, pair_threshold_counts, threshold_counts
from genmend.gans.dissection.agreement import agreement_of
from genmend.gans.dissection.chance import Chance, adjusted, partners_of
from genmend.gans.dissection.concepts import SoftConcepts, checked_masks, reduced
from genmend.gans.dissection.counting import upsample
from genmend.gans.dissection.mask_store import MaskStore
from genmend.storage.pieces import Work


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(on, masks, partners):
    """Pixels shared with the partners' masks, in all, and the sum of squared excesses; `on` (n, u, c, h, w)."""
    own = (on & masks[:, None]).sum((3, 4)).double()
    others = torch.stack([(on & masks[rows][:, None]).sum((3, 4)) for rows in partners]).double()
    return others.sum((0, 1)).long(), (own - others.mean(0)).square().sum(0)


@pytest.mark.parametrize("pairs", [False, True])
def test_overlap_with_other_samples_masks_is_counted_as_in_a_loop(pairs):
    maps, masks = draw(7, 4, 5, 5).relu(), draw(7, 3, 20, 20, seed=1) > 0.5
    partners = partners_of(7, 3, seed=0)
    thresholds = torch.linspace(0.2, 1.3, 12).view(4, 3) if pairs else torch.tensor([0.1, 0.5, 9.0, 1.0])
    others = masks.flatten(2)[partners]
    counts = (count_at_pairs if pairs else count_at)(maps, masks, thresholds, others=others)
    values = upsample(maps.flatten(0, 1), (20, 20)).view(7, 4, 1, 20, 20)
    limits = thresholds if pairs else thresholds[:, None].expand(-1, 3)
    shuffled, squares = by_hand(values > limits[None, :, :, None, None], masks, partners)
    assert torch.equal(counts.chance.shuffled, shuffled)
    assert torch.allclose(counts.chance.squares, squares)
    whole = counts.chance + counts.chance
    assert (whole.n_samples, whole.n_shuffles) == (14, 3)


def test_passes_give_every_sample_the_masks_of_its_partners():
    generator = toy_generator(batch_size=4)
    latents, masks = generator.latents(10, 5), draw(10, 2, 32, 32, seed=9) > 0.5
    partners = partners_of(10, 2, seed=3)
    thresholds = {"stem.act": torch.full((6,), 0.2)}
    pairs = {"stem.act": torch.full((6, 2), 0.2)}
    fixed = threshold_counts(generator, latents, masks, thresholds, partners=partners)["stem.act"]
    each = pair_threshold_counts(generator, latents, masks, pairs, partners=partners)["stem.act"]
    moved = [threshold_counts(generator, latents, masks[rows], thresholds)["stem.act"].both for rows in partners]
    assert torch.equal(fixed.chance.shuffled, torch.stack(moved).sum(0))
    assert torch.equal(each.chance.shuffled, fixed.chance.shuffled)
    assert torch.allclose(each.chance.squares, fixed.chance.squares)


def test_partners_are_other_samples_each_once_and_depend_on_the_seed_alone():
    found = partners_of(9, 4, seed=1, start=256)
    assert found.shape == (4, 9)
    assert not (found == torch.arange(9)).any()
    assert all(sorted(rows.tolist()) == list(range(9)) for rows in found)
    assert torch.equal(found, partners_of(9, 4, seed=1, start=256))
    assert not torch.equal(found, partners_of(9, 4, seed=2, start=256))
    assert partners_of(2, 2, seed=0).tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ValueError, match="n is 1"):
        partners_of(1, 2, seed=0)


def test_the_level_is_student_s_of_the_samples_excesses():
    own, others = torch.tensor([5.0, 7, 9, 4]), torch.tensor([2.0, 3, 2, 1])
    chance = Chance(4, 1, others.long().sum().view(1, 1), (own - others).double().square().sum().view(1, 1))
    expected = stats.ttest_1samp((own - others).numpy(), 0, alternative="greater").pvalue
    assert chance.p_values(own.long().sum().view(1, 1)).item() == pytest.approx(expected)
    counts = (torch.tensor([[40]]), torch.tensor([30]))
    assert chance.null_iou(*counts).item() == pytest.approx(8 / (40 + 30 - 8))


def test_one_large_sample_proves_nothing():
    n, squares = 400, torch.tensor([[300.0**2]], dtype=torch.float64)
    alone = Chance(n, 5, torch.zeros(1, 1, dtype=torch.int64), squares)
    assert alone.p_values(torch.tensor([[300]])).item() > 0.1
    many = Chance(n, 5, torch.zeros(1, 1, dtype=torch.int64), squares / 300)
    assert many.p_values(torch.tensor([[300]])).item() < 1e-12  # the same pixels, one in each of 300 samples
    assert alone.p_values(torch.tensor([[0]])).item() == 1


def test_levels_under_chance_are_no_smaller_than_they_should_be():
    """Units and masks of widths of their own round one place, and a concept that a few samples alone have."""
    rng = np.random.default_rng(0)
    n, rows = 120, torch.linspace(-1, 1, 12)
    near = 1 - rows.abs()[:, None] - rows.abs()[None]
    levels = []
    for trial in range(6):
        maps = near + torch.from_numpy(rng.normal(0, 0.3, (n, 10, 1, 1))).float()
        width = torch.from_numpy(rng.normal(0.3, 0.3, (n, 2, 1, 1))).float()
        width[rng.random(n) > 0.1, 1] = 9
        masks = near > width
        others = masks.flatten(2)[partners_of(n, 5, seed=trial)]
        counts = count_at(maps, masks, torch.full((10,), 0.5), others=others)
        levels += agreement_of(counts, torch.full((10, 2), 0.5)).p_value.flatten().tolist()
    assert np.mean(np.array(levels) < 0.05) < 0.12
    assert min(adjusted(np.array(levels))) > 0.05


def test_levels_are_adjusted_for_all_pairs():
    p = np.array([[0.001, 0.2], [0.03, 1.0]])
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert np.allclose(
        adjusted(p), np.minimum([[4 * 0.001 * harmonic, 4 / 3 * 0.2 * harmonic], [2 * 0.03 * harmonic, 1]], 1)
    )


class Halves:
    names = ("left", "line")
    objects = ("left",)
    digest = "1"

    def __call__(self, images):
        masks = torch.zeros(len(images), 2, *images.shape[2:], dtype=torch.bool)
        masks[:, 0, :, : images.shape[3] // 2] = True
        masks[:, 1, 5] = True
        return masks

    def soft(self, images):
        return self(images).float() * images.mean()


def test_masks_are_no_larger_than_asked_for_and_keep_what_covers_half_of_a_pixel():
    images = torch.rand(2, 3, 96, 192)
    small = reduced(Halves(), 48)
    assert isinstance(small, SoftConcepts)
    masks = checked_masks(small, images)
    assert masks.shape == (2, 2, 24, 48)
    assert torch.equal(masks[0, 0], torch.arange(48).expand(24, -1) < 24)
    assert not masks[:, 1].any()  # a line of one pixel in four
    assert small.soft(images).shape == masks.shape
    assert not isinstance(reduced(Plain(), 48), SoftConcepts)


class Plain:
    names = ("left",)

    def __call__(self, images):
        return torch.ones(len(images), 1, *images.shape[2:], dtype=torch.bool)


def test_files_of_masks_hold_fewer_samples_where_masks_are_large_and_never_one(tmp_path, monkeypatch):
    generator = toy_generator()
    store = MaskStore(generator, "mine", Halves(), Work(tmp_path))
    assert store.side == (32, 32)
    assert store.sizes(600) == [256, 256, 88]
    assert store.sizes(513) == [256, 257]
    assert store.sizes(5) == [5]
    monkeypatch.setattr("genmend.gans.dissection.mask_store.MOST_MASKED", 10 * 6 * 32 * 32)
    large = MaskStore(generator, "mine", Halves(), Work(tmp_path))
    assert large.sizes(25) == [10, 10, 5]
    assert [start for start, _ in large.chunks(21, 0)] == [0, 10]
    assert torch.equal(torch.cat([masks for _, masks in large.chunks(21, 0)]), store.chunk(0, 21, 0))


def test_few_places_of_a_large_picture_are_those_of_all_of_it():
    maps, places = draw(3, 9, 11), torch.tensor([0, 1, 700, 4095, 2222])
    assert torch.allclose(upsample(maps, (64, 64), places), upsample(maps, (64, 64))[:, places], atol=1e-5)
