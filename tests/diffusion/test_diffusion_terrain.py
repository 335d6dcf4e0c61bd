"""A real U-Net that has nothing to do with diffusers: the edit takes any by layer name."""

import numpy as np
import pytest
import torch

from genmend.activations import edited, record
from genmend.diffusion import AmplifyLowFrequencies
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.low_pass import Band, low_change
from genmend.storage.weights import find_weights

pytestmark = pytest.mark.real("terrain")
LAYER = "node_add_1938"  # encoder, 96 channels of 16x16


@pytest.fixture(scope="module")
def terrain():
    onnx2torch, onnx = pytest.importorskip("onnx2torch"), pytest.importorskip("onnx")
    stored = onnx.load(find_weights("terrain"))
    stored.opset_import[0].version = 17  # the newest that onnx2torch reads; the graph uses nothing newer but this:
    newer = {"Split": "num_outputs", "Reshape": "allowzero"}
    for node in stored.graph.node:
        kept = [attribute for attribute in node.attribute if attribute.name != newer.get(node.op_type)]
        del node.attribute[:]
        node.attribute.extend(kept)
    network = onnx2torch.convert(stored).eval()
    noise = 80 * torch.randn(4, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    return network, (noise, torch.full((4,), 80.0), torch.full((4,), 0.5))


@torch.no_grad()
def test_low_frequencies_of_a_layer_move_low_frequencies_of_the_terrain(terrain):
    network, inputs = terrain
    with record(network, [LAYER]) as outputs:
        plain = network(*inputs)
        maps = outputs[LAYER]
    with edited(network, AmplifyLowFrequencies(LAYER, 1.5, 2)), record(network, [LAYER]) as outputs:
        made = network(*inputs)
        torch.testing.assert_close(outputs[LAYER], maps + low_change(maps, Band(2), 0.5), atol=1e-4, rtol=1e-4)
    assert torch.isfinite(made).all()
    assert torch.equal(network(*inputs), plain)

    def low_share(change):
        """Share of the change's energy below 8 of 64 bins."""
        return float(low_change(change, Band(8), 1.0).square().sum() / change.square().sum())

    with edited(network, AmplifyBand(LAYER, 1.5, 2, "high")):
        high = network(*inputs)
    shares = low_share(made - plain), low_share(high - plain)
    assert np.isfinite(shares).all()
    assert shares[0] > shares[1]


@torch.no_grad()
def test_gain_1_is_bit_identical(terrain):
    network, inputs = terrain
    plain = network(*inputs)
    with edited(network, AmplifyLowFrequencies(LAYER, 1.0, 2)):
        assert torch.equal(network(*inputs), plain)
