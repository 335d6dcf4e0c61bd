"""The projection on low frequencies agrees with a Fourier transform in float64, on any size, band and dtype."""

import numpy as np
import pytest
import torch

from genmend.diffusion.amplification.frequency_bands import band_share, low_weights, radius
from genmend.diffusion.amplification.low_pass import Band, _matrices, low_change, published_change

SIZES = [(16, 16), (17, 17), (8, 24), (9, 16), (1, 5), (33, 20)]


def by_definition(x: torch.Tensor, band: Band, change: float, mean_change: float | None) -> np.ndarray:
    """All complex frequencies, one mask, in float64 numpy."""
    height, width = x.shape[-2:]
    down, across = np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width
    if band.unit == "nyquist":
        down, across = down / (height / 2), across / (width / 2)
    distance = torch.from_numpy(np.hypot(down[:, None], across[None]))
    mask = low_weights(distance, band.cutoff, band.transition).numpy() * change
    if mean_change is not None:
        mask[0, 0] = mean_change
    return np.fft.ifft2(np.fft.fft2(x.double().numpy()) * mask).real


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "band",
    [Band(1), Band(3.5), Band(5), Band(100), Band(0.3, "nyquist"), Band(3, transition=2), Band(0.5, "nyquist", 0.4)],
)
@pytest.mark.parametrize("mean_change", [None, 0.25])
def test_agrees_with_the_definition(size, band, mean_change):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = low_change(x, band, 1.5, mean_change)
    assert found.shape == x.shape
    np.testing.assert_allclose(found.numpy(), by_definition(x, band, 1.5, mean_change), atol=1e-12)
    np.testing.assert_allclose(low_change(x.float(), band, 1.5, mean_change).numpy(), found.numpy(), atol=2e-5)


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (16, 16), (16, 64), (8, 8)])
@pytest.mark.parametrize("cutoff", [1.0, 2.5, 5.0, 10.0])
def test_equals_the_published_operator_on_even_sizes(size, cutoff):
    x = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1))
    published = published_change(x, cutoff, 1.6)
    assert published.abs().max() > 0.01
    torch.testing.assert_close(low_change(x, Band(cutoff), 1.6), published, atol=1e-5, rtol=0)


def test_the_published_operator_is_a_bin_off_on_odd_sizes():
    """specs/diffusion.md 1.9, trap 3: 2, 2, 2, 1.5, 1.5, 1 at |frequency| 1..6 for 2, 2, 2, 2, 1, 1."""
    places = torch.arange(17, dtype=torch.float64)
    gains = {"published": [], "ours": []}
    for frequency in range(1, 7):
        wave = torch.cos(2 * torch.pi * frequency / 17 * places)
        x = wave[None, None, None, :].expand(1, 1, 17, 17)
        for name, change in (("published", published_change(x, 5, 1.0)), ("ours", low_change(x, Band(5), 1.0))):
            gains[name].append(round(float(((x + change) * x).sum() / (x * x).sum()), 6))
    assert gains["ours"] == [2, 2, 2, 2, 1, 1]
    assert gains["published"] == [2, 2, 2, 1.5, 1.5, 1]


def test_a_fourier_transform_serves_where_the_band_is_most_of_the_map():
    assert len(_matrices(16, 16, Band(5), torch.float32, torch.device("cpu"))[2]) == 69
    assert _matrices(16, 16, Band(10), torch.float32, torch.device("cpu")).shape == (16, 9)


def test_constants_are_scaled_and_high_tones_pass():
    constant = torch.full((1, 1, 12, 10), 3.0)
    torch.testing.assert_close(low_change(constant, Band(1), 1.5), constant * 1.5)
    wave = torch.cos(2 * torch.pi * 5 / 20 * torch.arange(20.0)).expand(1, 1, 20, 20)
    assert low_change(wave, Band(5), 1.5).abs().max() < 1e-5  # strictly below the cutoff
    torch.testing.assert_close(low_change(wave, Band(5.01), 1.5), wave * 1.5, atol=1e-5, rtol=0)


@pytest.mark.parametrize("band", [Band(3), Band(10)])
def test_flips_and_shifts_commute_with_the_projection(band):
    x = torch.randn(1, 2, 14, 15, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    change = low_change(x, band, 1.0)
    torch.testing.assert_close(low_change(x.flip(-1), band, 1.0), change.flip(-1))
    torch.testing.assert_close(low_change(x.roll((3, 4), (-2, -1)), band, 1.0), change.roll((3, 4), (-2, -1)))


@pytest.mark.parametrize("cutoff", [4.0, 12.0])  # the projection, the transform
def test_gradients_reach_the_maps_and_the_gain(cutoff):
    x = torch.randn(1, 1, 12, 12, dtype=torch.float64, requires_grad=True)
    change = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps, gain: low_change(maps, Band(cutoff), gain, 0.2), (x, change))


def test_shares_of_bins():
    """specs/diffusion.md 1.2: the disc below 5 bins holds 69 bins, below 10 holds 305."""
    assert round(band_share(64, 64, 5) * 64 * 64) == 69
    assert round(band_share(64, 64, 10) * 64 * 64) == 305
    assert band_share(8, 8, 5) == pytest.approx(0.92, abs=0.01)
    assert radius(4, 6).shape == (4, 4)
