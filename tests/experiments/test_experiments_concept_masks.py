"""What the figures on masks, artifact units and regions in other networks rest on, where the answer is known."""

import numpy as np
import pytest
import torch

from experiments.concepts.artifact_units import highest, overlap_rows
from experiments.concepts.masks import Measured, correction_rows, quality_rows, random_masks
from experiments.concepts.other_networks import N_QUERIES, region_row, voice_rows
from genmend.gans.detection.defect_masks import box_masks


def test_maps_that_lie_in_the_boxes_beat_random_ones_and_those_of_other_samples():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 40, (30, 2))
    drawn = box_masks(np.concatenate([corners, corners + 20], 1), 64, 64)
    right = drawn + 0.1 * torch.rand(drawn.shape, generator=torch.Generator().manual_seed(0))
    rows = {row["masks"]: row for row in quality_rows({"distilled-gradient": right}, drawn, 0)}
    own, random = rows["distilled-gradient"], rows["control: random"]
    assert own["iou"][0] > 0.7
    assert own["pointing"][0] == 1
    assert own["iou_minus_random"][1] > 0.3
    assert own["iou_minus_others"][1] > 0.3
    assert random["iou_minus_random"] == [0, 0, 0]
    assert random["mass"][0] == pytest.approx(float(drawn.mean()))
    assert abs(random["pointing"][0] - float(drawn.mean())) < 0.25


def test_random_masks_lie_anywhere_alike_at_the_share_asked_for():
    masks = random_masks(torch.zeros(400, 64, 64), 0.1, 0)
    assert masks.mean((1, 2)).tolist() == pytest.approx([0.1] * 400, abs=1e-3)
    where = masks.mean(0)
    edge = torch.cat([where[0], where[-1], where[:, 0], where[:, -1]]).mean()
    assert float(edge) == pytest.approx(float(where[20:44, 20:44].mean()), abs=0.02)


def test_a_correction_is_compared_sample_by_sample():
    def outcome(flagged):
        flagged = np.array(flagged, dtype=bool)
        return Measured(flagged, flagged, np.ones(3), np.ones(3, dtype=bool))

    found = {
        "uncorrected": outcome([1, 1, 1, 1]),
        "random units": outcome([1, 1, 1, 0]),
        "random masks": outcome([1, 1, 0, 0]),
        "distilled-gradient": outcome([0, 0, 0, 0]),
    }
    rows = {row["masks"]: row for row in correction_rows(found, 0)}
    assert rows["distilled-gradient"]["minus_none"] == [-1, -1, -1]
    assert rows["random masks"]["minus_random_units"][0] == -0.25
    assert rows["uncorrected"]["still_flagged"] == [1, 1, 1]


def test_overlap_of_equal_rankings_is_whole_and_of_random_ones_within_chance():
    rng = np.random.default_rng(0)
    one, other = ({"a": rng.normal(size=200)} for _ in range(2))
    rows = overlap_rows({"one": one, "same": one, "other": other}, ("a",))
    same, random = rows[0], rows[1]
    assert (same["shared"], same["top"], same["rank_correlation"]) == (40, 40, pytest.approx(1))
    assert random["chance_interval"][0] <= random["shared"] <= random["chance_interval"][1]
    assert random["chance"] == 8
    assert set(highest(one["a"], 40)) == set(np.argsort(one["a"])[-40:].tolist())


def test_regions_round_queries_hold_their_cluster_in_the_other_half():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 400)
    values = torch.from_numpy(2 * rng.normal(size=(4, 64))[labels] + rng.normal(size=(400, 64))).float()
    row = region_row(values, labels, labels, 0)
    assert row["n"] == N_QUERIES
    assert row["region"][0] > 0.9
    assert row["base"][0] == pytest.approx(0.25, abs=0.05)
    assert row["minus_base"][1] > 0.5


@pytest.mark.real("joe")
def test_regions_of_a_voice_hold_a_sound_and_the_next_beyond_chance():
    for row in voice_rows(12, 0)[1:4:2]:
        assert row["minus_base"][1] > 0
        assert row["region"][0] > 5 * row["base"][0]
