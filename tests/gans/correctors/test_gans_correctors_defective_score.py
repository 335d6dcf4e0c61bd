"""The defective score against a plain float64 loop; the order of the layers; contrast."""

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_generator, written_out
from torch.nn import functional

from genmend.activations import ScaleUnits, edited
from genmend.gans.correctors import DefectiveUnits, defective_score
from genmend.gans.correctors.defective_score import checked_masks


@pytest.fixture(scope="module")
def generator():
    return toy_generator(batch_size=4)


@pytest.fixture(scope="module")
def latents(generator):
    return generator.latents(10, 1)


@pytest.fixture(scope="module")
def masks():
    drawn = torch.zeros(10, 12, 9)  # any size does
    for row in range(9):  # the last sample's mask is empty
        drawn[row, row : row + 4, row // 2 : row // 2 + 3] = 1
    return drawn


def plain_score(maps, masks, threshold):
    """Loops over samples and units in float64."""
    ious = []
    for sample, mask in zip(maps.double(), masks.numpy() >= 0.5, strict=True):
        if not mask.any():
            continue
        row = []
        for u, unit in enumerate(sample):
            big = functional.interpolate(unit[None, None], size=mask.shape, mode="bilinear", align_corners=False)
            big = big[0, 0].numpy()
            if np.ndim(threshold):
                active = big > threshold[u]
            else:
                active = big > big.min() + threshold * (big.max() - big.min()) if np.ptp(big) > 1e-9 else big != big
            row.append((active & mask).sum() / (active | mask).sum())
        ious.append(row)
    return np.mean(ious, axis=0)


def test_score_equals_a_plain_loop(generator, latents, masks):
    outputs, _ = written_out(generator.module, latents)
    found = defective_score(generator, latents, masks, LAYERS, thresholds=0.4)
    for layer in LAYERS:
        np.testing.assert_allclose(found[layer].numpy(), plain_score(outputs[layer], masks, 0.4), atol=1e-12)
    assert found["stem.act"][0] == 0, "a unit that is never active is never at fault"


def test_score_at_thresholds_of_units_equals_a_plain_loop(generator, latents, masks):
    outputs, _ = written_out(generator.module, latents)
    limits = {layer: out.transpose(0, 1).flatten(1).double().quantile(0.9, dim=1) for layer, out in outputs.items()}
    found = defective_score(generator, latents, masks, LAYERS, thresholds=limits)
    for layer in LAYERS:
        expected = plain_score(outputs[layer], masks, limits[layer].numpy())
        np.testing.assert_allclose(found[layer].numpy(), expected, atol=1e-12)


def test_score_does_not_depend_on_the_batches(generator, latents, masks):
    whole = defective_score(toy_generator(batch_size=10), latents, masks, LAYERS)
    parts = defective_score(generator, latents, masks, LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(whole[layer], parts[layer], atol=1e-12, rtol=0)


def test_a_unit_that_draws_the_mask_scores_highest(generator, latents):
    maps = written_out(generator.module, latents)[0]["detail.act"][:, 2]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    score = defective_score(generator, latents, (maps > low + (high - low) / 2).float(), ["detail.act"])["detail.act"]
    assert score.argmax() == 2
    assert score[2] == 1


def test_sequential_rule_by_hand(generator, latents, masks):
    fitted = DefectiveUnits(layers=LAYERS, share=0.5, keep=0.8).fit(generator, latents, latents, masks=masks)

    def change(layer, x):
        x = x.clone()
        order = np.argsort(-fitted.scores_[layer].numpy(), kind="stable")[: max(1, round(0.5 * x.shape[1]))]
        for unit in order:
            x[:, unit] *= 0.8 * (1 - fitted.scores_[layer][unit])
        return x

    expected = written_out(generator.module, latents, change)[1]
    torch.testing.assert_close(fitted.correct(generator, latents), expected, atol=1e-6, rtol=0)


def test_rescoring_sees_the_corrected_earlier_layers(generator, latents, masks):
    plain = DefectiveUnits(layers=LAYERS, share=0.5).fit(generator, latents, latents, masks=masks)
    again = DefectiveUnits(layers=LAYERS, share=0.5, rescore=True).fit(generator, latents, latents, masks=masks)
    assert torch.equal(plain.scores_["stem.act"], again.scores_["stem.act"])
    with edited(generator.module, again.edits_[0]):
        expected = defective_score(generator, latents, masks, ["widen.act"])["widen.act"]
    assert torch.equal(again.scores_["widen.act"], expected)
    assert not torch.equal(plain.scores_["widen.act"], expected)


def test_contrast_of_the_same_samples_under_the_same_mask_is_nothing(generator, latents, masks):
    same = masks[:1].expand(10, -1, -1)
    fitted = DefectiveUnits("global", contrast=True).fit(generator, latents, latents, masks=same)
    assert fitted.scores_["widen.act"].abs().max() < 1e-12


def test_global_switches_off_the_highest_units_of_one_layer(generator, latents, masks):
    fitted = DefectiveUnits("global", n_units=2).fit(generator, latents, latents, masks=masks)
    (edit,) = fitted.edits(latents)
    assert isinstance(edit, ScaleUnits)
    assert edit.layer == "widen.act"
    assert edit.scale == 0.0
    assert set(edit.units) == set(fitted.scores_["widen.act"].topk(2).indices.tolist())


def test_masks_are_cut_at_one_half():
    assert checked_masks(torch.tensor([[[0.49, 0.5]]]), 1).tolist() == [[[False, True]]]
