"""The real eye generator: the published weights, and its classes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from genmend.gans import DCGAN, load_generator
from genmend.gans.families.pretrained import EYE_COLOURS, load_eyes
from genmend.storage.weights import find_weights

pytestmark = pytest.mark.real("eyes")


@pytest.fixture(scope="module")
def eyes():
    return load_eyes()


def hues(images):
    """Mean red, green and blue of the middle of each picture."""
    return images[:, :, 44:84, 34:94].mean((2, 3))


def test_the_generator_is_the_published_one(eyes):
    stored = torch.load(find_weights("eyes"), map_location="cpu", weights_only=True)
    assert list(stored) == list(eyes.module.state_dict())
    assert all(torch.equal(stored[name], value) for name, value in eyes.module.state_dict().items())
    assert isinstance(eyes.module, DCGAN)
    assert not any(module.training for module in eyes.module.modules())
    assert eyes.latent_shape == (101,)
    assert eyes.layers == ("main.2", "main.6", "main.9", "main.12", "main.15")
    assert isinstance(eyes.module.main[3], nn.Dropout)


def test_the_images_are_those_of_the_forward_pass_written_out():
    brown = load_eyes("brown")
    latents = brown.latents(3, 1)
    stored = torch.load(find_weights("eyes"), map_location="cpu", weights_only=True)
    one_hot = torch.zeros(3, 8)
    one_hot[:, 2] = 1
    x = torch.cat([latents, one_hot], dim=1)[:, :, None, None]
    for stage, (number, norm) in enumerate([(0, 1), (4, 5), (7, 8), (10, 11), (13, 14)]):
        x = functional.conv_transpose2d(x, stored[f"main.{number}.weight"], None, *((1, 0) if stage == 0 else (2, 1)))
        mean, var = stored[f"main.{norm}.running_mean"], stored[f"main.{norm}.running_var"]
        x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        x = functional.relu(
            x * stored[f"main.{norm}.weight"][:, None, None] + stored[f"main.{norm}.bias"][:, None, None]
        )
    expected = (functional.conv_transpose2d(x, stored["main.16.weight"], None, 2, 1).tanh() + 1) / 2
    torch.testing.assert_close(brown.generate(latents), expected, rtol=0, atol=1e-5)


def test_a_class_fixes_the_colour():
    of_colour = {colour: hues(load_eyes(colour).sample(24, 0)).mean(0) for colour in ("blue", "green", "red", "brown")}
    red, green, blue = of_colour["red"], of_colour["green"], of_colour["blue"]
    assert red[0] - red[1] == max(mean[0] - mean[1] for mean in of_colour.values())
    assert green[1] - green[2] > blue[1] - blue[2]
    assert blue[2] - blue[0] == max(mean[2] - mean[0] for mean in of_colour.values())
    gray = load_eyes("grayscale").sample(8, 0)
    assert (gray.max(1).values - gray.min(1).values).mean() < 0.06


def test_a_class_by_number_is_the_class_by_name():
    named = load_eyes("hazel")
    assert (named.name, named.settings) == ("eyes:hazel", {"label": EYE_COLOURS.index("hazel")})
    assert torch.equal(load_eyes(6).sample(2, 3), named.sample(2, 3))
    assert torch.equal(load_generator("eyes:hazel").sample(2, 3), named.sample(2, 3))


def test_without_a_class_the_last_number_of_the_latent_chooses_it(eyes):
    latents = eyes.latents(400, 9)
    _, labels = eyes.call.split(latents)
    counts = np.bincount(labels.numpy(), minlength=8)
    assert counts.min() > 25  # 50 each are expected
    for label in (0, 3, 7):
        chosen = (labels == label).nonzero()[:3, 0]
        fixed = load_eyes(label).generate(latents[chosen, :100])
        torch.testing.assert_close(eyes.generate(latents[chosen]), fixed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("label", ["blau", 8, -1, True, 1.0])
def test_a_class_that_is_not_there_is_refused(label):
    with pytest.raises(ValueError, match=r"no class 'blau'; there are amber, blue|label is .*from 0 to 7"):
        load_eyes(label)


def test_layers_can_be_chosen_by_name():
    assert load_generator("eyes", layers=("main.6",)).layers == ("main.6",)
