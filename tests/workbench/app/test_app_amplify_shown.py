"""What the Amplify tab says of a comparison in which one of the two novelties is not known."""

from dataclasses import replace

import numpy as np
import torch

from genmend.diffusion.amplification.low_frequencies import AmplifyLowFrequencies
from genmend.diffusion.search.comparison import AmplifyRun
from genmend.diffusion.search.trials import Scores, compare_scores
from genmend.workbench.app.amplify.shown import every_pair, pair_in_words, pairs, verdict


def made():
    plain, changed, control = (
        Scores({"guide": np.full(2, 0.5)}, np.array(novelty))
        for novelty in ([1.0, 2.0], [np.nan, np.nan], [1.5, np.nan])
    )
    images = (torch.rand(2, 3, 8, 8),)
    settings = {"seed": 4, "control": "high", "n_cloud": 8}
    edits = (AmplifyLowFrequencies("mid_block", 2.0, 5.0),)
    found = [compare_scores(scores, plain) for scores in (changed, control)]
    return AmplifyRun(
        "toy", edits, None, *found, (plain, changed), images, images, images, 0.1, None, settings, True, control
    )


def test_what_is_not_known_is_said_so():
    run = made()
    said = verdict(run)
    assert "<td>novelty</td><td>not known</td>" in said
    assert "control (high) / original" in said
    assert "outside the real images amplified, 1.50 control" in pair_in_words(run, 0)
    assert pair_in_words(run, 1).startswith('<p id="amplify-pair-words"><strong>Seed 5.</strong>')
    assert every_pair(run).count("<tr>") == 3
    assert [words for _, words in pairs(run)] == ["seed 4", "seed 5"]
    plain = verdict(replace(run, edits=(), control=None))
    assert "every gain is 1" in plain
    assert "<table>" not in plain
