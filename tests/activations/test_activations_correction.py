import hashlib
import warnings

import numpy as np
import pytest
import torch
from activation_toys import EDITS, generator, latents, pull_to_mean, scale_units, snapshot
from torch import nn

from genmend.activations import Correction, Gate, attach, edited
from genmend.activations.correction import CorrectionMismatchError
from genmend.activations.correction_description import model_fit


def correction(net, **options):
    return Correction.of(net, [[scale_units(strength=0.3)], [scale_units(), pull_to_mean()]], **options)


@pytest.mark.parametrize("way", [attach, edited])
def test_a_rung_is_its_edits(way):
    net, z = generator(), latents()
    fix = correction(net)
    for rung, edits in enumerate(fix.ladder):
        with edited(net, *edits):
            expected = net(z)
        with way(net, fix, rung=rung) as handle:
            assert torch.equal(net(z), expected)
            assert handle.edits == edits


@pytest.mark.parametrize("rung", [None, -1, 2, 0.0, True, "0"])
def test_a_rung_must_be_on_the_ladder(rung):
    net = generator()
    with pytest.raises(ValueError, match="accepted are 0 to 1"):
        attach(net, correction(net), rung=rung)


def test_a_correction_stands_alone():
    net = generator()
    with pytest.raises(TypeError, match="one correction"):
        attach(net, correction(net), scale_units(), rung=0)


def refused(net, fix, **options):
    before = snapshot(net)
    with pytest.raises(CorrectionMismatchError) as caught:
        attach(net, fix, rung=0, **options)
    assert snapshot(net) == before
    return str(caught.value)


def test_another_layout_is_refused_with_every_difference():
    fix = correction(generator())
    other = generator()
    other.main[5] = nn.Conv2d(5, 4, 3, bias=False)
    other.extra = nn.Linear(2, 1)
    message = refused(other, fix, allow_other_weights=True)
    for line in [
        "4 differences",
        "missing: main.5.bias (3,)",
        "unexpected: extra.bias (1,)",
        "unexpected: extra.weight (1, 2)",
        "wrong shape: main.5.weight is (4, 5, 3, 3), should be (3, 5, 3, 3)",
    ]:
        assert line in message


def test_other_weights_are_refused_unless_allowed():
    fix, other = correction(generator(seed=0)), generator(seed=1)
    assert "allow_other_weights=True" in refused(other, fix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with attach(other, fix, rung=0, allow_other_weights=True):
            other(latents())


def test_one_changed_weight_or_buffer_is_another_model():
    net = generator()
    fix = correction(net)
    net.main[1].running_mean[3] += 1e-6
    refused(net, fix)


@pytest.mark.parametrize("made_in", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("used_in", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_same_weights_in_another_dtype_only_warn(made_in, used_in):
    weights = generator().to(made_in)
    fix = correction(weights)
    net = generator().to(made_in).to(used_in)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fix.check(net)
    assert [str(warning.message)[:59] for warning in caught] == (
        [] if made_in == used_in else ["The correction was made for the same weights in another dtype"[:59]]
    )


def test_weights_that_ran_rounded_to_16_bits_are_the_same_weights():
    """A model shipped in half precision, as large ones are, runs in bfloat16; its file is for the others too."""
    shipped = generator().to(torch.float16)
    fix = correction(generator().to(torch.float16).to(torch.bfloat16))
    for used in (shipped, generator()):
        with pytest.warns(UserWarning, match="the same weights in another dtype"):
            fix.check(used)
    assert model_fit(fix, shipped) == "the weights it was made for, in another dtype"
    refused(generator(seed=1).to(torch.float16), fix)


def test_a_preset_fits_every_model_of_the_layout():
    fix = correction(generator(seed=0), preset=True)
    assert fix.weights_digests is None
    fix.check(generator(seed=1))
    with pytest.raises(CorrectionMismatchError, match=r"missing: main\.0\.weight"):
        fix.check(nn.Linear(1, 1))


def test_the_digest_of_the_layout_is_that_of_sorted_names_and_shapes():
    fix = Correction.of(nn.Linear(2, 1), [[]])
    assert fix.layout_digest == hashlib.sha256(b'[["bias",[1]],["weight",[1,2]]]').hexdigest()


def test_a_compiled_model_is_the_model():
    net = generator()
    fix = correction(net)
    assert correction(torch.compile(net, backend="eager")) == fix
    fix.check(torch.compile(net, backend="eager"))


def test_equality_looks_at_everything():
    net = generator()

    def build(weight=1.0, info=1, scalar=2.0):
        gate = Gate("pixels", torch.tensor([weight]), 0.0, 0.0)
        return correction(net, gate=gate, info={"seed": info}, tensors={"radius": torch.tensor(scalar)})

    assert build() == build()
    assert hash(build()) == hash(build())
    assert all(build() != other for other in (build(weight=2.0), build(info=2), build(scalar=3.0), correction(net), 5))


def test_gate_scores_in_the_kind_it_is_given():
    gate = Gate("vgg16", [0.5, -1.0], bias=0.25, threshold=0.1)
    features = np.array([[1.0, 2.0], [4.0, 0.0]])
    expected = [0.5 - 2 + 0.25, 2.25]
    scores = gate.score(features)
    assert isinstance(scores, np.ndarray)
    np.testing.assert_allclose(scores, expected)
    scores = gate.score(torch.from_numpy(features).float())
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, torch.tensor(expected))
    with pytest.raises(ValueError, match=r"\(n, 2\) is needed; extract them with 'vgg16'"):
        gate.score(features[:, :1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gate(3, [1.0], 0, 0),
        lambda: Gate("a", [[1.0]], 0, 0),
        lambda: Gate("a", [1], 0, 0),
        lambda: Gate("a", [float("nan")], 0, 0),
        lambda: Gate("a", [1.0], float("inf"), 0),
        lambda: Correction((), {}),
        lambda: Correction((("edit",),), {}),
        lambda: Correction(([],), {}, info=[]),
        lambda: Correction(([],), {}, tensors={"a": 1}),
        lambda: Correction(([],), {}, info={"a": float("nan")}),
        lambda: Correction(([],), {}, info={"a": object()}),
    ],
)
def test_wrong_parts_are_refused(make):
    with pytest.raises((TypeError, ValueError)):
        make()


def test_every_edit_type_has_a_name_for_files():
    from genmend.activations.contract import edit_class, edit_name

    for make in EDITS:
        assert edit_class(edit_name(make())) is type(make())
