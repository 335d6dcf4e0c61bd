"""The real portrait generator: the published weights under our names."""

import pytest
import torch
from torch.nn import functional

from genmend.gans import load_generator
from genmend.storage.weights import find_weights

pytestmark = pytest.mark.real("portraits")


def test_the_images_are_those_of_the_package_s_own_forward_pass_written_out():
    portraits = load_generator("portraits")
    latents = portraits.latents(3, 1)
    stored = torch.load(find_weights("portraits"), map_location="cpu", weights_only=True)
    x = latents[:, :, None, None]
    for step in range(1, 5):
        x = functional.conv_transpose2d(x, stored[f"convTr{step}.weight"], None, *((1, 0) if step == 1 else (2, 1)))
        norm = [stored[f"batchNorm{step}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = functional.relu(functional.batch_norm(x, *norm))
    expected = (functional.conv_transpose2d(x, stored["convTr5.weight"], None, 2, 1).tanh() + 1) / 2
    torch.testing.assert_close(portraits.generate(latents), expected, rtol=0, atol=1e-5)
    assert portraits.latent_shape == (100,)
    assert portraits.layers == ("main.2", "main.5", "main.8", "main.11")
