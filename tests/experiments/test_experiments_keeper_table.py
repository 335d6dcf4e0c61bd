"""Rows of the table of keepers, and pictures that are drawn once."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from experiments.garments import keeper_table, ways
from genmend.diffusion.search.trials import Scores
from genmend.storage import Work


@pytest.fixture(autouse=True)
def two_prompts(monkeypatch):
    for module in (keeper_table, ways):
        monkeypatch.setattr(module, "PROMPTS", ("a bag", "a coat"))


def counting(by_grey):
    """Counts pictures as their grey says: novelty is the grey, from 0.5 on kept, NaN below 0.1, broken from 0.65."""

    def scores(pictures):
        grey = pictures.mean((1, 2, 3)).double().numpy()
        usable = {"judge": np.ones(len(grey)), "intact_judge": np.where(grey < 0.65, 1.0, 0.3)}
        return Scores(usable, np.where(grey < 0.1, np.nan, grey), (grey >= by_grey) & (grey < 0.65))

    found = keeper_table.Counting.__new__(keeper_table.Counting)
    found.novelty = SimpleNamespace(extractor=lambda images: images.flatten(1))
    found.keepers = SimpleNamespace(newer_than_={"a bag": 0.5, "a coat": 0.25})
    found.scores = scores
    return found


def test_a_row_counts_keepers_beside_those_of_the_plain_pictures():
    plain = torch.full((16, 3, 2, 2), 0.2)
    drawn = plain.clone()
    drawn[:4] = 0.6  # half of the first prompt's
    drawn[8] = 0.05  # outside
    drawn[9] = 0.7  # broken
    row = keeper_table.row_of(counting(0.5), counting(0.55), drawn, plain, level=0.999)
    assert row["keepers"][0] == row["more_keepers"][0] == 25
    assert row["keepers"][1] < 25 < row["keepers"][2]
    assert row["keepers_in_the_second_space"][0] == 25
    assert (row["prompts_that_gain"], row["prompts_that_lose"]) == (1, 0)
    assert (row["inside"], row["intact"], row["whole"]) == (15 / 16, 15 / 16, 14 / 16)
    wide, usual = row["more_keepers_corrected"], row["more_keepers"]
    assert wide[0] == usual[0]
    assert wide[1] < usual[1] < usual[2] < wide[2]
    assert row["newest_of_8"] == pytest.approx((0.6 / 0.5 + 0.2 / 0.25) / 2)
    assert row["different_keepers"] == pytest.approx(1)
    unpaired = keeper_table.row_of(counting(0.5), counting(0.5), drawn, plain[:8], paired=False)
    assert unpaired["more_keepers"][0] == 25


def test_pictures_are_drawn_once_and_counted(monkeypatch, tmp_path):
    calls = []

    def draw(pipe, prompts, seeds, **settings):
        calls.append(list(seeds))
        greys = [(100 * i + seed) / 255 for i in range(len(prompts)) for seed in seeds]
        return torch.tensor(greys)[:, None, None, None].expand(-1, 3, 2, 2)

    monkeypatch.setattr(ways, "draw", draw)
    monkeypatch.setattr(ways, "weights_digest", lambda _: "w")
    drawing = ways.Drawing(SimpleNamespace(unet=None), Work(tmp_path))
    found = drawing.pictures(ways.PLAIN, range(8))
    assert (found[:, 0, 0, 0] * 255).round().int().tolist() == [*range(8), *range(100, 108)]
    drawing.pictures(ways.PLAIN, range(4, 8))
    drawing.pictures(ways.Way("other", lambda pipe, first: nullcontext()), range(4))
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    assert drawing.n_drawn == 24
    with pytest.raises(ValueError, match="3 seeds"):
        drawing.pictures(ways.PLAIN, range(3))
