"""Vectors in the place of a layer's own: which rows change, and that nothing else does."""

import pytest
import torch
from torch import nn

from genmend.activations import Correction, edited, load_correction, save_correction
from genmend.activations.contract import edit_class
from genmend.tts.voices.replace_vectors import ReplaceVectors


@pytest.fixture
def output():
    return torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_listed_rows_of_every_sentence_are_replaced_and_no_others(output, strength):
    vectors = random(2, 3)
    found = ReplaceVectors("layer", [3, 1], vectors, strength).apply(output)
    expected = output.clone()
    for sentence in range(2):
        for place, row in enumerate((3, 1)):
            expected[sentence, row] = (1 - strength) * output[sentence, row] + strength * vectors[place]
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[:, [0, 2]], output[:, [0, 2]])


def test_at_full_strength_the_vectors_themselves_stand_there(output):
    vectors = random(4, 3)
    found = ReplaceVectors("layer", range(4), vectors).apply(output)
    assert torch.equal(found[0], vectors)
    assert torch.equal(found[1], vectors)


def test_no_bit_changes_at_strength_0_without_rows_or_by_rounding(output):
    output[0, 0] = torch.tensor([-0.0, 1.0, 2.0])
    rounded = output[0] * (1 + 2e-6)
    for edit in (
        ReplaceVectors("layer", range(4), random(4, 3), strength=0.0),
        ReplaceVectors("layer", [], torch.zeros(0, 3)),
        ReplaceVectors("layer", range(4), rounded),
    ):
        found = edit.apply(output[:1])
        assert torch.equal(found.view(torch.int32), output[:1].view(torch.int32))
    assert not torch.equal(ReplaceVectors("layer", range(4), output[0] * (1 + 1e-4)).apply(output[:1]), output[:1])


class TupleLayer(nn.Module):
    def forward(self, x):
        return x, "attention"


def test_the_first_tensor_of_a_tuple_is_edited_and_the_rest_kept(output):
    model, vectors = nn.Sequential(TupleLayer()), random(1, 3)
    with edited(model, ReplaceVectors("0", [2], vectors)):
        found, rest = model(output)
    assert rest == "attention"
    assert torch.equal(found[:, 2], vectors.expand(2, 3))
    assert model(output)[0] is output


def test_it_goes_through_a_correction_file(tmp_path, output):
    assert edit_class("tts.replace_vectors") is ReplaceVectors
    model, edit = nn.Sequential(nn.Linear(3, 3)), ReplaceVectors("0", [0, 2], random(2, 3), 0.5)
    save_correction(tmp_path / "c.safetensors", Correction.of(model, [[edit]]))
    assert load_correction(tmp_path / "c.safetensors").ladder[0][0] == edit


@pytest.mark.parametrize(
    ("rows", "vectors", "error", "message"),
    [
        ([0, 0], torch.zeros(2, 3), ValueError, "each at most once"),
        ([-1], torch.zeros(1, 3), ValueError, "count from 0"),
        ([0.5], torch.zeros(1, 3), TypeError, "rows has .* a flat list of indices is needed"),
        ([0, 1], torch.zeros(1, 3), ValueError, r"give floating values of shape \(2, d\)"),
        ([0], torch.zeros(1, 3, dtype=torch.int64), TypeError, "floating values are needed"),
        ([0], torch.full((1, 3), torch.nan), ValueError, "NaN or infinite"),
    ],
)
def test_what_no_edit_can_be_is_refused(rows, vectors, error, message):
    with pytest.raises(error, match=message):
        ReplaceVectors("layer", rows, vectors)


@pytest.mark.parametrize(("rows", "width", "shape"), [([4], 3, (2, 4, 3)), ([0], 2, (2, 4, 3)), ([0], 3, (4, 3))])
def test_a_sentence_that_does_not_fit_is_refused_by_name(rows, width, shape):
    with pytest.raises(ValueError, match=r"cannot act on layer 'deep\.layer'"):
        ReplaceVectors("deep.layer", rows, torch.zeros(1, width)).apply(torch.zeros(shape))
