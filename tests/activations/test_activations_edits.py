import dataclasses

import numpy as np
import pytest
import torch
from activation_toys import (
    EDITS,
    SHAPE,
    ablate_neurons,
    cap_neurons,
    mask,
    misfit,
    pull_to_mean,
    same_bits,
    scale_units,
)

from genmend.activations import AblateNeurons, CapNeurons, PullToMean, ScaleUnits

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def outputs(n=4, shape=SHAPE, dtype=torch.float32):
    """Feature maps with everything a float can be."""
    values = torch.randn(n, *shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    special = torch.tensor([-0.0, 0.0, torch.inf, -torch.inf, torch.nan, torch.finfo(dtype).tiny], dtype=dtype)
    values.view(-1)[::7] = special.repeat(len(values.view(-1)[::7]) // 6 + 1)[: len(values.view(-1)[::7])]
    return values


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_scale_units_is_its_formula(strength):
    r = torch.randn(2, *SHAPE, dtype=torch.float64)
    edited = ScaleUnits("a", [1, 6], torch.tensor([0.25, -1.5], dtype=torch.float64), strength).apply(r)
    expected = r.numpy().copy()
    expected[:, 1] *= 1 + strength * (0.25 - 1)
    expected[:, 6] *= 1 + strength * (-1.5 - 1)
    np.testing.assert_allclose(edited, expected, rtol=1e-15)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("only_positive", [True, False])
def test_ablate_neurons_is_its_formula(strength, only_positive):
    r = torch.randn(2, *SHAPE, dtype=torch.float64)
    edited = AblateNeurons("a", mask(), only_positive, strength).apply(r).numpy()
    chosen = mask().numpy() & ((r.numpy() > 0) if only_positive else True)
    np.testing.assert_allclose(edited, np.where(chosen, r.numpy() * (1 - strength), r.numpy()), rtol=1e-15)
    assert (edited != r.numpy()).any() == (strength > 0)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_cap_neurons_is_its_formula(strength):
    r = torch.randn(2, *SHAPE, dtype=torch.float64)
    ceiling = torch.randn(SHAPE, dtype=torch.float64)
    edited = CapNeurons("a", ceiling, mask(), strength).apply(r).numpy()
    excess = np.where(mask().numpy(), np.maximum(r.numpy() - ceiling.numpy(), 0), 0)
    np.testing.assert_allclose(edited, r.numpy() - strength * excess, rtol=1e-14)
    assert (edited != r.numpy()).any() == (strength > 0)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("mean_shape", [SHAPE[:1], SHAPE])
@pytest.mark.parametrize("where", ["everywhere", "units", "unit mask", "neuron mask"])
def test_pull_to_mean_is_its_formula(strength, mean_shape, where):
    r = torch.randn(2, *SHAPE, dtype=torch.float64)
    mean = torch.randn(mean_shape, dtype=torch.float64)
    full = mean.expand(SHAPE) if mean.shape == SHAPE else mean[:, None, None].expand(SHAPE)
    chosen = torch.ones(SHAPE, dtype=torch.bool)
    options = {}
    if where == "units":
        options, chosen = {"units": [7, 2]}, torch.zeros(SHAPE, dtype=torch.bool)
        chosen[[2, 7]] = True
    elif where == "unit mask":
        options = {"mask": mask(SHAPE[:1])}
        chosen = options["mask"][:, None, None].expand(SHAPE)
    elif where == "neuron mask":
        options = {"mask": mask()}
        chosen = options["mask"]
    edited = PullToMean("a", mean, strength=strength, **options).apply(r)
    expected = np.where(chosen, (1 - strength) * r.numpy() + strength * full.numpy(), r.numpy())
    np.testing.assert_allclose(edited, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "edit",
    [
        scale_units(strength=0.0),
        ablate_neurons(strength=0.0),
        cap_neurons(strength=0.0),
        CapNeurons("a", torch.zeros(SHAPE), torch.zeros(SHAPE, dtype=torch.bool)),
        pull_to_mean(strength=0.0),
        ScaleUnits("a", [0, 5], 1.0),
        ScaleUnits("a", [2, 3], torch.ones(2)),
        ScaleUnits("a", [], 0.0),
        AblateNeurons("a", torch.zeros(SHAPE, dtype=torch.bool)),
        AblateNeurons("a", mask(), False, 0.0),
        PullToMean("a", torch.ones(8), units=[]),
        PullToMean("a", torch.ones(8), mask=torch.zeros(8, dtype=torch.bool)),
    ],
    ids=repr,
)
def test_an_identity_edit_changes_no_bit(edit, dtype):
    r = outputs(dtype=dtype)
    assert same_bits(edit.apply(r), r)
    assert same_bits(edit.apply(r, torch.tensor(edit.strength)), r)


@pytest.mark.parametrize("make", EDITS)
def test_what_is_not_edited_keeps_every_bit(make):
    r = outputs()
    edited = make(strength=0.5).apply(r)
    untouched = {
        scale_units: [0, 2, 3, 4, 5, 7],
        pull_to_mean: [1, 2, 4, 5, 6],
    }
    if make is ablate_neurons:
        assert torch.equal(edited.view(torch.int32)[:, ~mask()], r.view(torch.int32)[:, ~mask()])
        assert torch.equal(edited.view(torch.int32)[~(r > 0)], r.view(torch.int32)[~(r > 0)])
    elif make is cap_neurons:
        kept = ~(mask() & (r > 0.1))
        assert torch.equal(edited.view(torch.int32)[kept], r.view(torch.int32)[kept])
        assert (edited[~kept] < r[~kept])[r[~kept].isfinite()].all()
    else:
        assert same_bits(edited[:, untouched[make]], r[:, untouched[make]])


@pytest.mark.parametrize("make", EDITS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_edits_keep_dtype_and_round_half_precision_once(make, dtype):
    r = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = r.clone()
    edited = make(strength=0.3).apply(r)
    assert edited.dtype == dtype
    assert torch.equal(r, before)
    assert same_bits(edited, make(strength=0.3).apply(r.to(torch.promote_types(dtype, torch.float32))).to(dtype))


@pytest.mark.parametrize("make", EDITS)
def test_gradients_pass_through(make):
    r = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(make(strength=0.4).apply, (r,))


def test_units_of_a_linear_layer():
    r = torch.tensor([[1.0, 2.0, 3.0]])
    assert ScaleUnits("a", np.array([2]), 0.0).apply(r).tolist() == [[1.0, 2.0, 0.0]]
    assert PullToMean("a", torch.zeros(3), units=[0], strength=0.5).apply(r).tolist() == [[0.5, 2.0, 3.0]]
    assert AblateNeurons("a", torch.tensor([False, True, True])).apply(r).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("make", EDITS)
def test_a_shape_that_does_not_fit_names_layer_and_edit(make):
    edit = misfit(make, "main.7")
    with pytest.raises(ValueError, match=rf"{type(edit).__name__} cannot act on layer 'main.7'.*\(?8, 4, 4\)"):
        edit.apply(torch.randn(2, *SHAPE))


def test_masks_are_never_broadcast_by_chance():
    with pytest.raises(ValueError, match="needs"):
        AblateNeurons("a", torch.ones(4, 4, dtype=torch.bool)).apply(torch.randn(2, 4, 4, 4))
    with pytest.raises(ValueError, match="needs"):
        PullToMean("a", torch.ones(4), mask=torch.ones(4, 4, dtype=torch.bool)).apply(torch.randn(2, 4, 4, 4))


@pytest.mark.parametrize("make", EDITS)
def test_an_integer_output_is_refused_by_name(make):
    with pytest.raises(ValueError, match=r"Layer 'main.2' returned torch.int64"):
        make().apply(torch.ones(1, *SHAPE, dtype=torch.int64))


on = torch.tensor([True])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ScaleUnits(3, [0], 0.5), TypeError, "layer is 3"),
        (lambda: ScaleUnits("a", [0], 0.5, 1.5), ValueError, r"strength is 1.5.*\[0, 1\]"),
        (lambda: ScaleUnits("a", [0], 0.5, float("nan")), ValueError, "strength is nan"),
        (lambda: ScaleUnits("a", [0], 0.5, "1"), TypeError, "strength is '1'"),
        (lambda: ScaleUnits("a", [0], 0.5, True), TypeError, "strength is True"),
        (lambda: ScaleUnits("a", [0, 0], 0.5), ValueError, "at most once"),
        (lambda: ScaleUnits("a", [-1], 0.5), ValueError, "count from 0"),
        (lambda: ScaleUnits("a", [0.5], 0.5), TypeError, "flat list of indices"),
        (lambda: ScaleUnits("a", on, 0.5), TypeError, "mask.nonzero"),
        (lambda: ScaleUnits("a", 3, 0.5), TypeError, "flat list"),
        (lambda: ScaleUnits("a", None, 0.5), TypeError, "units cannot be made a tensor"),
        (lambda: ScaleUnits("a", [10**30], 0.5), TypeError, "units cannot be made a tensor"),
        (lambda: ScaleUnits("a", [0], float("inf")), ValueError, "NaN or infinite"),
        (lambda: ScaleUnits("a", [0], torch.tensor([torch.nan])), ValueError, "NaN or infinite"),
        (lambda: ScaleUnits("a", [0], torch.ones(2)), ValueError, r"scale has shape \(2,\) for 1 units"),
        (lambda: ScaleUnits("a", [0], torch.tensor([1])), TypeError, "scale has dtype torch.int64"),
        (lambda: AblateNeurons("a", torch.ones(2)), TypeError, "boolean mask"),
        (lambda: AblateNeurons("a", on, only_positive=1), TypeError, "only_positive is 1"),
        (lambda: AblateNeurons("a", on, strength=-0.1), ValueError, "strength is -0.1"),
        (lambda: CapNeurons("a", torch.tensor([torch.nan]), on), ValueError, "ceiling has NaN or infinite"),
        (lambda: CapNeurons("a", torch.ones(2), on), ValueError, "both must be shaped"),
        (lambda: PullToMean("a", torch.tensor([torch.inf])), ValueError, "mean has NaN or infinite"),
        (lambda: PullToMean("a", torch.tensor([1])), TypeError, "mean has dtype torch.int64"),
        (lambda: PullToMean("a", torch.ones(1), mask=[0, 1]), TypeError, "pass indices as units"),
        (lambda: PullToMean("a", torch.ones(1), mask=on, units=[0]), ValueError, "leave one out"),
    ],
)
def test_wrong_arguments_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("make", EDITS)
def test_edits_are_frozen_values(make):
    edit = make()
    assert edit == make()
    assert hash(edit) == hash(make())
    assert edit != make(strength=0.5)
    assert edit != make(layer="main.3")
    assert edit != "an edit"
    with pytest.raises(dataclasses.FrozenInstanceError):
        edit.strength = 0.1
    assert "_index" not in repr(edit)


def test_equality_looks_at_every_element_and_dtype():
    one = ScaleUnits("a", [0, 1], torch.tensor([0.5, 0.25]))
    assert one != ScaleUnits("a", [0, 1], torch.tensor([0.5, 0.125]))
    assert one != ScaleUnits("a", [0, 1], torch.tensor([0.5, 0.25], dtype=torch.float64))
    assert one != ScaleUnits("a", [0, 1], 0.5)
    assert one != ScaleUnits("a", [0, 2], torch.tensor([0.5, 0.25]))


def test_numbers_from_numpy_are_numbers():
    edit = ScaleUnits("a", np.arange(2), np.float32(0.5), np.float64(0.5))
    assert edit == ScaleUnits("a", (0, 1), 0.5, 0.5)
    assert (type(edit.scale), type(edit.strength), edit.units) == (float, float, (0, 1))
