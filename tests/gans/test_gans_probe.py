"""What a generator is seen to be before work begins, and what `Generator` makes of modules that are odd in one way."""

import json

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_generator
from odd_generators import (
    FORMS,
    WIDTH,
    Along,
    Conditional,
    Dense,
    Functional,
    Late,
    Lazy,
    Named,
    Noisy,
    Output,
    Returning,
    Reversed,
    Shared,
    Tokens,
    made,
)
from torch import nn
from torch.nn import functional

from genmend.activations import ScaleUnits, edited, record
from genmend.gans import Generator, probe
from genmend.gans.boundaries.preactivation import preactivations
from genmend.gans.correctors.corrector import choose_layers
from genmend.gans.correctors.defective_units import DefectiveUnits
from genmend.gans.correctors.rare_neurons import RareNeurons
from genmend.gans.detection.local_activation import LocalActivation
from genmend.gans.detection.rare_activation import ablated_share
from genmend.gans.failed_pass import GeneratorPassError
from genmend.gans.generator import recorded_batches
from genmend.gans.generator_layers import checked_layers
from genmend.gans.own_label import label_call
from genmend.gans.probing import ProbeWarning, probed

SHARED_RUNS = ("act#1", "act#2")


def generator(kind=Shared, *arguments, shape=(WIDTH,), **options):
    return Generator(made(kind, *arguments), shape, name="odd", **options)


def only_warning(found):
    (sentence,) = [one for one in found.warnings if "runs 2 times" not in one]
    return sentence


def test_a_sound_generator_gives_no_warning_and_its_facts():
    found = probe(toy_generator())
    assert found.layers == LAYERS
    assert (found.shared, found.output, found.shape, found.dtype) == ({}, "tensor", (3, 32, 32), "float32")
    assert -1 < found.raw_range[0] < 0 < found.raw_range[1] < 1
    assert (found.own_noise, found.depends_on_batch, found.not_finite, found.problem) == (None, False, None, "")
    assert found.warnings == ()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["value_range"] == [-1, 1]
    assert probe(toy_generator()).to_dict() == found.to_dict()


def test_a_shared_activation_is_one_layer_a_run_and_said():
    toy = generator()
    assert toy.layers == SHARED_RUNS
    found = probe(toy)
    assert found.shared == {"act": 2}
    assert found.warnings == (
        "Layer 'act' runs 2 times in a pass; each run is inspected as a layer of its own: act#1, act#2.",
    )
    with torch.no_grad(), record(toy.module, toy.layers) as outputs:
        toy.run(toy.latents(2, 0))
    assert [outputs[layer].shape[1] for layer in toy.layers] == [6, 5]
    # Edits of one run leave the other alone; also where `call` runs parts of the module by itself.
    by_parts = generator(call=lambda net, z: Shared.forward(net, z))
    z = toy.latents(3, 1)
    with edited(toy.module, ScaleUnits("act#2", range(5), 0.0)):
        grey = toy.generate(z)
    with edited(by_parts.module, ScaleUnits("act#2", range(5), 0.0)):
        assert torch.equal(by_parts.generate(torch.cat([z, z])), torch.cat([grey, grey]))
    assert not torch.equal(grey, toy.generate(z))
    assert torch.equal(grey[0], grey[1])  # nothing of the latent is left behind that layer


def test_named_layers_are_put_in_order_and_shared_ones_named_by_run():
    assert generator(layers=("act",)).layers == SHARED_RUNS
    assert generator(layers=("paint", "act#2", "start")).layers == ("start", "act#2", "paint")
    assert generator(layers=["widen#1"]).layers == ("widen",)
    toy = generator()
    assert checked_layers(toy, ["widen", "act"]) == ("act#1", "widen", "act#2")
    assert choose_layers(toy, ["act#2", "act#1"]) == SHARED_RUNS
    assert choose_layers(toy, None) == ("act#1",)
    for layer, times in (("act#3", "runs 2 times"), ("widen#2", "runs once")):
        with pytest.raises(ValueError, match=f"{times} when odd makes images; choose among act#1, act#2"):
            generator(layers=(layer,))

    class Unused(Shared):
        def __init__(self):
            super().__init__()
            self.idle = nn.ReLU()

    with pytest.raises(ValueError, match="'idle' was named, but it does not run when"):
        generator(Unused, layers=("idle",))


def test_layers_are_in_the_order_in_which_they_run():
    found = probe(generator(Reversed))
    assert found.layers == ("early", "late")
    assert "run in another order than they are registered in" in only_warning(found)
    assert generator(Reversed, layers=("late", "early")).layers == ("early", "late")


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        ((), ("layers.0", "layers.1")),
        ((True,), ("norms.0", "norms.1")),
        ((False, torch.tanh), ("layers.0", "layers.1")),
    ],
)
def test_convolutions_stand_in_for_activations_that_are_no_modules(arguments, layers):
    found = probe(generator(Functional, *arguments))
    assert found.layers == layers
    assert f"inspected at {', '.join(layers)}, which are no activation modules" in only_warning(found)


def test_boundaries_need_activation_modules_and_say_so():
    toy = generator(Functional)
    with pytest.raises(ValueError, match="write its activation functions as modules"):
        preactivations(toy, toy.latents(1, 0), "layers.0")
    shared = generator()
    found = [preactivations(shared, shared.latents(2, 0), layer).shape[1:] for layer in SHARED_RUNS]
    assert found == [(6, 4, 4), (5, 8, 8)]
    with pytest.raises(ValueError, match="choose one of act#1, act#2"):
        preactivations(shared, shared.latents(1, 0), "widen")


@pytest.mark.parametrize(
    ("kind", "arguments", "call"),
    [
        (Shared, (), None),
        (Dense, (), None),
        (Along, (1,), lambda net, z: net(z)[:, :, None].expand(-1, -1, 8, -1)),
        (Along, (3,), lambda net, z: net(z)[:, :, 4]),
    ],
)
def test_neurons_of_maps_of_any_dimension_are_counted_switched_off_and_shown(kind, arguments, call):
    toy = generator(kind, *arguments, call=call)
    mend = RareNeurons(0.9, n_samples=30).fit(toy, toy.latents(20, 1))
    z = toy.latents(6, 2)
    assert not torch.equal(mend.correct(toy, z), toy.generate(z))
    masks = {edit.layer: edit.mask for edit in mend.edits_}
    heat = ablated_share(toy, z, masks, (16, 12))
    assert heat.shape == (6, 16, 12)
    assert 0 < heat.max() <= 1
    assert LocalActivation(n_neighbours=2).fit(toy, toy.latents(10, 3)).score(toy, z).shape == (6,)
    if kind is not Shared:
        with pytest.raises(ValueError, match="DefectiveUnits compares maps"):
            DefectiveUnits().fit(toy, z, z, masks=torch.ones(6, *toy.generate(z).shape[2:]))


def test_half_precision_is_measured_in_float32():
    toy = Generator(made(Shared).half(), (WIDTH,))
    (outputs,) = recorded_batches(toy, toy.latents(4, 0), toy.layers, "")
    assert {maps.dtype for maps in outputs.values()} == {torch.float32}


def test_tanh_modules_alone_leave_the_convolutions():
    net = nn.Sequential(nn.ConvTranspose2d(WIDTH, 6, 4), nn.Tanh(), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Tanh())
    assert Generator(net.eval(), (WIDTH, 1, 1)).layers == ("0",)


@pytest.mark.parametrize(("n_axes", "what"), [(1, "spectrograms"), (3, "middle slice")])
def test_maps_in_one_and_three_dimensions_are_taken_and_their_outputs_told(n_axes, what):
    assert generator(Along, n_axes).layers == ("main.1",)
    found = probe(generator(Along, n_axes))
    assert found.shape == (1, *[8] * n_axes)
    assert what in found.problem
    with pytest.raises(ValueError, match=what):
        probed(generator(Along, n_axes))
    flat = {1: lambda net, z: net(z)[:, :, None].expand(-1, -1, 8, -1), 3: lambda net, z: net(z)[:, :, 4]}[n_axes]
    assert probed(generator(Along, n_axes, call=flat)).shape == (1, 8, 8)


def test_vectors_are_inspected_where_there_are_no_maps():
    assert generator(Dense).layers == ("main.1", "main.3")


def test_tokens_are_no_units_and_convolutions_behind_them_are():
    assert generator(Tokens, True).layers == ("mix",)
    with pytest.raises(ValueError, match="tokens have their units along the last axis"):
        generator(Tokens, False)
    for layer in ("block.linear1", "block.activation", "block.norm2", "block"):
        with pytest.raises(ValueError, match=r"puts out tokens \('n', 16, .* such as convolutions"):
            generator(Tokens, True, layers=(layer,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_modules_of_any_dtype_get_their_latents_in_it(dtype):
    toy = Generator(made(Shared).to(dtype), (WIDTH,))
    images = toy.sample(3, 0)
    assert images.dtype == torch.float32
    tolerance = {torch.float16: 0.01, torch.bfloat16: 0.05, torch.float64: 1e-6}[dtype]
    torch.testing.assert_close(images, generator().sample(3, 0), rtol=0, atol=tolerance)
    found = probe(toy)
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert not found.depends_on_batch
    drawn = Generator(made(Shared).to(dtype), (WIDTH,), draw=lambda net, z: 2 * z)
    assert drawn.latents(3, 0).dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
def test_images_are_found_in_what_is_returned(form):
    toy = generator(Returning, FORMS[form])
    assert torch.equal(toy.sample(3, 0), generator().sample(3, 0))
    if form != "array":
        assert "is taken for the images; give `call`" in only_warning(probe(toy))


def test_a_named_tuple_gives_what_has_the_shape_of_images():
    toy = generator(Returning, lambda x, z: Named(z, x))
    assert torch.equal(toy.sample(3, 0), generator().sample(3, 0))
    assert probe(toy).output == "Named with latents, picture"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda x, z: "no", "returned str without a tensor of images; give `call`"),
        (lambda x, z: {"loss": 1.0}, "returned dict with loss without a tensor"),
        (lambda x, z: None, "returned NoneType without"),
        (lambda x, z: Output("a", None), "returned Output with latents, sample without"),
    ],
)
def test_outputs_without_a_tensor_are_told(form, said):
    with pytest.raises(TypeError, match=said):
        generator(Returning, form)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda x, z: x.repeat(1, 2, 1, 1)[:, :5], r"returned shape \(2, 5, 16, 16\).*give `call`"),
        (lambda x, z: x.permute(0, 2, 3, 1), r"channels stand last.*permute\(0, 3, 1, 2\)"),
        (lambda x, z: x.flatten(1), "returned shape .*give `call` to turn"),
        (lambda x, z: x[:, 0], r"one channel, module\(z\)\[:, None\]"),
        (lambda x, z: torch.complex(x, x), "complex numbers"),
        (lambda x, z: x / 0, "The generator returned NaN"),
        (lambda x, z: torch.where(z[:, :1, None, None] > 0, torch.nan, x), "The generator returned NaN"),
    ],
)
def test_what_is_no_image_is_refused_before_work_begins(form, said):
    with pytest.raises(ValueError, match=said):
        probed(generator(Returning, form))


def test_nan_is_told_with_the_layer_it_comes_from_and_in_any_later_latent():
    toy = generator()
    toy.module.widen.bias.fill_(torch.inf)
    found = probe(toy)
    assert found.not_finite == "widen"
    assert "returned NaN or infinite values (from layer 'widen' on): run odd in float32" in found.problem
    rare = generator(Returning, lambda x, z: torch.where(z[:, :1, None, None] > 9, torch.nan, x), batch_size=2)
    latents = rare.latents(5, 0)
    latents[3, 0] = 10
    with pytest.raises(ValueError, match="returned NaN or infinite values for latent 3"):
        rare.generate(latents)


def test_opacity_is_laid_on_white():
    clear = generator(Returning, lambda x, z: torch.cat([x, x[:, :1]], 1))
    images, plain = clear.sample(2, 0), generator().sample(2, 0)
    alpha = plain[:, :1]
    torch.testing.assert_close(images, plain * alpha + 1 - alpha)
    assert "fourth is taken for opacity, on white" in only_warning(probe(clear))


@pytest.mark.parametrize(
    ("form", "declared", "remedy"),
    [
        (lambda x, z: x / 2 + 0.5, (-1, 1), "--value-range 0,1"),
        (lambda x, z: torch.sigmoid(x), (-1, 1), "--value-range 0,1"),
        (lambda x, z: 127.5 * (x + 1), (-1, 1), "--value-range 0,255"),
        (lambda x, z: (127.5 * (x + 1)).byte(), (-1, 1), "--value-range 0,255"),
        (lambda x, z: x, (0, 1), "--value-range -1,1"),
        (lambda x, z: x / 2 + 0.5, (0, 255), "--value-range 0,1"),
        (lambda x, z: 5 * x, (-1, 1), "by --value-range (value_range"),
    ],
)
def test_another_range_than_the_declared_one_is_told(form, declared, remedy):
    toy = generator(Returning, form, value_range=declared)
    with pytest.warns(ProbeWarning) as given:
        probed(toy)
    (sentence,) = [str(one.message) for one in given if "value-range" in str(one.message)]
    assert remedy in sentence
    low, high = probe(toy).raw_range
    assert f"from {low:.3g} to {high:.3g}" in sentence


@pytest.mark.parametrize(
    ("form", "declared"),
    [
        (lambda x, z: x, (-1, 1)),
        (lambda x, z: 1.2 * x, (-1, 1)),  # an overshoot, as of StyleGAN
        (lambda x, z: x / 2 + 0.5, (0, 1)),
        (lambda x, z: (127.5 * (x + 1)).byte(), (0, 255)),
        (lambda x, z: 3 * x, (-3, 3)),
    ],
)
def test_the_right_range_gives_no_warning(form, declared):
    assert not [one for one in probe(generator(Returning, form, value_range=declared)).warnings if "range" in one]


def test_images_of_the_right_range_are_the_same_whatever_it_is():
    plain = generator().sample(3, 0)
    for form, declared in ((lambda x, z: x / 2 + 0.5, (0, 1)), (lambda x, z: 127.5 * (x + 1), (0, 255))):
        toy = generator(Returning, form, value_range=declared)
        torch.testing.assert_close(toy.sample(3, 0), plain, rtol=0, atol=1e-6)


def test_noise_of_its_own_is_told_with_the_layer_and_how_to_fix_it():
    found = probe(generator(Noisy))
    assert found.own_noise == "widen"
    assert only_warning(found).startswith(
        "odd has noise of its own: the same latents gave other images the second time, from"
    )
    assert "keep the noise in a buffer, or draw it from a torch.Generator of a fixed seed (call=" in only_warning(found)
    behind = probe(generator(Returning, lambda x, z: x + 0.01 * torch.randn_like(x)))
    assert behind.own_noise == ""
    dropping = generator(Returning, lambda x, z: functional.dropout(x, 0.5))
    assert probe(dropping).own_noise == ""


def test_an_input_that_rules_the_noise_is_named():
    class Ruled(Noisy):
        def forward(self, z, randomize_noise=True):
            return super().forward(z)

    said = "its forward takes 'randomize_noise', so fix the noise by it in call= of gans.Generator"
    assert said in only_warning(probe(generator(Ruled)))


def test_a_layer_left_in_training_mode_is_named():
    net = nn.Sequential(nn.ConvTranspose2d(WIDTH, 6, 4), nn.Dropout(0.5), nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 2, 1))
    net.eval()[1].train()
    found = probe(Generator(net, (WIDTH, 1, 1)))
    assert "layer '1' is in training mode, so call .eval() on it" in only_warning(found)


def test_images_that_depend_on_their_batch_are_told():
    norm = nn.BatchNorm2d(6, track_running_stats=False)
    net = nn.Sequential(nn.ConvTranspose2d(WIDTH, 6, 4), norm, nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Tanh())
    found = probe(Generator(net.eval(), (WIDTH, 1, 1)))
    assert found.depends_on_batch
    assert "depend on the other latents of their batch" in only_warning(found)

    def by_place(x, z):
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0))

    assert probe(generator(Returning, by_place)).depends_on_batch
    assert not probe(generator(Returning, by_place, batch_size=1)).depends_on_batch


def test_latents_that_make_no_difference_are_told():
    found = probe(generator(Returning, lambda x, z: torch.linspace(-1, 1, 768).view(1, 3, 16, 16).expand_as(x)))
    assert "Two latents gave the same image" in only_warning(found)


def test_layers_that_come_with_the_first_pass_are_found():
    with pytest.warns(UserWarning, match="had no weights before their first run"):
        lazy = Generator(Lazy().eval(), (WIDTH,))
    assert lazy.layers == ("main.1",)
    with pytest.warns(UserWarning, match="no weights"):
        assert torch.equal(Generator(Lazy().eval(), (WIDTH,)).sample(2, 0), lazy.sample(2, 0))
    late = generator(Late)
    assert late.layers == ("net.act#1", "net.act#2")
    assert torch.equal(late.sample(2, 0), generator().sample(2, 0))


def test_scripted_and_traced_modules_are_refused_by_name():
    with pytest.warns(FutureWarning):
        modules = [torch.jit.script(made(Dense)), torch.jit.trace(made(Dense), torch.zeros(1, WIDTH))]
    for module in modules:
        with pytest.raises(ValueError, match=r"module is a .*Module, .*neither watched nor edited.*made from"):
            Generator(module, (WIDTH,))


@pytest.mark.parametrize(
    ("shape", "latent_shape"),
    [((3, 8), (8, 1, 1)), ((3, 8, 1, 1), (8,)), ((3, 1, 8), (8, 1)), ((3, 8), (2, 4)), ((3, 2, 1, 4), (2, 4))],
)
def test_latents_are_reshaped_where_the_sizes_agree(shape, latent_shape):
    toy = generator(Shared, shape=latent_shape, call=lambda net, z: net(z.reshape(-1, WIDTH)))
    given = torch.randn(shape)
    assert torch.equal(toy.checked_latents(given), given.reshape(3, *latent_shape))


@pytest.mark.parametrize("shape", [(3, 4, 2), (3, 8, 2), (3, 9), (3, 2, 2, 2)])
def test_latents_that_would_be_scrambled_are_refused(shape):
    toy = generator(Shared, shape=(2, 4), call=lambda net, z: net(z.flatten(1)))
    with pytest.raises(ValueError, match=r"takes \['n', 2, 4\]"):
        toy.checked_latents(torch.zeros(shape))


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        ({"z": torch.zeros(2, 8)}, r"are a dict with 'z'; give the array itself, latents\[key\]"),
        ({}, "are a dict with no keys"),
        ("latents.npy", "are a str that is no array of numbers"),
        ([[1.0, 2.0], [1.0]], "are a list that is no array of numbers"),
        (None, "are a NoneType that is no array"),
        (np.array([["a"] * 8]), "are a ndarray that is no array of numbers"),
    ],
)
def test_latents_that_are_no_array_are_named(latents, said):
    with pytest.raises(TypeError, match=said):
        generator().generate(latents)


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (
            Shared,
            (10,),
            r"layer 'start', Linear that takes 8, raised RuntimeError: mat1 .*--latent-shape .*, e\.g\. 8;",
        ),
        (Shared, (8, 1, 1), "layer 'start', Linear that takes 8"),
        (Functional, (7,), r"layer 'layers\.0', ConvTranspose2d that takes 8, .*--latent-shape.* e\.g\. 8;"),
        (Functional, (8, 1, 1), r"ConvTranspose2d that takes 8, .*--latent-shape.* e\.g\. 8;"),
        (lambda: nn.Sequential(nn.Conv2d(8, 3, 1)), (8,), r"layer '0', Conv2d that takes 8.* e\.g\. 8,1,1;"),
    ],
)
def test_a_wrong_latent_shape_is_told_with_what_the_first_layer_takes(kind, shape, said):
    with pytest.raises(GeneratorPassError, match=said):
        generator(kind, shape=shape)


@pytest.mark.parametrize("shape", [(0,), (), (-5,), (8, 0), (99_999_999_999_999,), (2**13, 2**13)])
def test_impossible_latent_shapes_are_refused_with_their_range(shape):
    with pytest.raises(ValueError, match=r"--latent-shape\); give sizes from 1 whose product is at most 16777216"):
        generator(shape=shape)


@pytest.mark.parametrize("seed", [-1, 2**64, 10**30])
def test_impossible_seeds_are_refused_with_their_range(seed):
    with pytest.raises(ValueError, match=r"at least 0 and below 2\*\*64"):
        generator().latents(2, seed)
    assert generator().latents(2, 2**64 - 1).shape == (2, WIDTH)


def test_an_error_of_the_module_is_told_with_its_line():
    class Broken(Shared):
        def forward(self, z):
            return super().forward(z) / len(None)

    with pytest.raises(GeneratorPassError, match=r"it raised TypeError: object of type 'NoneType'.*in forward"):
        generator(Broken)

    class Divides(Shared):
        def forward(self, z):
            return 1 / 0

    with pytest.raises(GeneratorPassError, match=r"ZeroDivisionError: division by zero .*\. Mend it there") as error:
        generator(Divides)
    assert "latent-shape" not in str(error.value)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_a_conditional_module_names_call_and_label():
    with pytest.raises(
        GeneratorPassError, match=r"forward needs y\. .*--label N .*call=lambda module, z: module\(z, y\)"
    ):
        generator(Conditional)


@pytest.mark.parametrize("form", ["index", "shared", "one-hot"])
def test_a_label_is_given_in_the_form_that_the_module_takes(form):
    net = made(Conditional, form)
    call = label_call(net, 3, (WIDTH,))
    assert (call.form, call.name) == (form, "y")
    toy = Generator(net, (WIDTH,), call=call)
    z = toy.latents(2, 0)
    y = torch.tensor([3, 3])
    y = {"index": y, "shared": y, "one-hot": functional.one_hot(y, 5).float()}[form]
    expected = net(z, net.shared(y) if form == "shared" else y)
    assert torch.equal(toy.run(z), expected)
    assert not torch.equal(Generator(net, (WIDTH,), call=label_call(net, 2, (WIDTH,))).run(z), expected)


def test_the_input_that_is_a_class_is_told_from_others_by_its_name():
    class Optional(Conditional):
        def forward(self, z, truncation=1.0, class_label=None):
            return super().forward(truncation * z, class_label)

    call = label_call(made(Optional), 3, (WIDTH,))
    z = torch.randn(2, WIDTH)
    assert call.name == "class_label"
    assert torch.equal(call(made(Optional), z), made(Conditional)(z, torch.tensor([3, 3])))
    with pytest.raises(GeneratorPassError, match=r"its forward also takes truncation, class_label: .* give --label N"):
        generator(Optional)


@pytest.mark.parametrize(("label", "said"), [(5, "as index it raised IndexError"), (-1, "give a class from 0")])
def test_a_label_that_the_module_has_not_is_refused(label, said):
    with pytest.raises(ValueError, match=said):
        label_call(made(Conditional), label, (WIDTH,))
    with pytest.raises(ValueError, match="takes no class beside latents"):
        label_call(made(Shared), 1, (WIDTH,))
