"""The edit: what gain 1, rows, masks, energy and half precision do, and what it refuses."""

import pytest
import torch
from torch import nn

from genmend.activations import Correction, attach, edited, load_correction, save_correction
from genmend.diffusion import AmplifyLowFrequencies
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.frequency_bands import radius
from genmend.diffusion.amplification.low_pass import Band, low_change
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate


@pytest.fixture
def maps():
    return torch.randn(4, 6, 16, 16, generator=torch.Generator().manual_seed(0))


def edit(gain=2.0, cutoff=5, **settings):
    return AmplifyLowFrequencies("0", gain, cutoff, **settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_only_the_band_changes_in_every_dtype(maps, dtype):
    made = edit().apply(maps.to(dtype))
    assert made.dtype == dtype
    wide = maps.to(dtype).double()
    expected = wide + low_change(wide, Band(5), 1.0)
    torch.testing.assert_close(made.double(), expected, atol=1e-5, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("settings", [{"gain": 1.0}, {"strength": 0.0}, {"gain": 1.0, "mean_gain": 1}])
def test_an_identity_changes_no_bit(settings):
    x = torch.tensor([-0.0, float("nan"), float("inf"), 1e-30]).view(1, 1, 2, 2).half()
    made = edit(**settings).apply(x)
    assert torch.equal(made.view(torch.int16), x.view(torch.int16))
    with edited(nn.Sequential(nn.Identity()), edit(**settings)) as handle:
        assert handle.edits


def test_strength_is_a_share_of_the_change(maps):
    half = edit().apply(maps, torch.tensor(0.5))
    torch.testing.assert_close(half, (maps + edit().apply(maps)) / 2)


def test_rows_of_guidance(maps):
    everything = edit().apply(maps)
    for rows, chosen, others in (
        ("conditional", slice(2, 4), slice(0, 2)),
        ("unconditional", slice(0, 2), slice(2, 4)),
    ):
        made = edit(rows=rows).apply(maps)
        assert torch.equal(made[chosen], everything[chosen])
        assert torch.equal(made[others], maps[others])
    with pytest.raises(ValueError, match="3 rows"):
        edit(rows="conditional").apply(maps[:3])


def test_batch_independence(maps):
    torch.testing.assert_close(edit().apply(maps)[1:2], edit().apply(maps[1:2]))


def test_a_mask_of_any_size_keeps_the_change_inside(maps):
    where = torch.zeros(4, 4)
    where[:, 2:] = 1.0
    made = edit(where=where).apply(maps)
    assert torch.equal(made[..., :8], maps[..., :8])
    torch.testing.assert_close(made[..., 8:], edit().apply(maps)[..., 8:])


def test_the_mean_has_a_gain_of_its_own(maps):
    x = maps + 3
    made = edit(mean_gain=1.0).apply(x)
    torch.testing.assert_close(made.mean((-2, -1)), x.mean((-2, -1)))
    assert (made - x).abs().max() > 0.1
    only_mean = edit(gain=1.0, mean_gain=2.0).apply(x)
    torch.testing.assert_close(only_mean, x + x.mean((-2, -1), keepdim=True), atol=1e-5, rtol=1e-5)


def test_kept_energy(maps):
    made = edit(keep_energy=True).apply(maps)
    torch.testing.assert_close(made.square().mean((-2, -1)), maps.square().mean((-2, -1)))
    plain = edit().apply(maps)
    assert (plain.square().mean((-2, -1)) > maps.square().mean((-2, -1))).all()


def test_half_precision_backs_off_before_it_overflows():
    x = torch.full((2, 1, 8, 8), 30_000.0, dtype=torch.float16)
    x[1] = 100.0
    made = edit(gain=4.0).apply(x)
    assert torch.isfinite(made).all()
    assert float(made[0].max()) == pytest.approx(65_504, rel=1e-3)
    torch.testing.assert_close(made[1], torch.full_like(made[1], 400.0))  # the other sample has all of its gain


def test_what_is_not_finite_is_left_alone():
    x = torch.ones(1, 2, 4, 4)
    x[0, 0, 0, 0] = float("inf")
    made = edit().apply(x)
    assert torch.equal(made[0, 0], x[0, 0])
    torch.testing.assert_close(made[0, 1], 2 * x[0, 1])


def test_the_skip_copy_of_a_block_is_left_alone(maps):
    class Block(nn.Module):
        def forward(self, x):
            return x, (x,)

    model = nn.Sequential(Block())
    with edited(model, edit()):
        hidden, skips = model(maps)
    assert skips[0] is maps
    torch.testing.assert_close(hidden, edit().apply(maps))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"gain": -1.0}, ValueError, "gain is -1.0"),
        ({"gain": float("nan")}, ValueError, "gain is nan"),
        ({"gain": "2"}, TypeError, "gain is '2'"),
        ({"cutoff": 0}, ValueError, "cutoff is 0"),
        ({"cutoff_unit": "pixels"}, ValueError, "'pixels'"),
        ({"transition": -1.0}, ValueError, "transition is -1.0"),
        ({"rows": "all"}, ValueError, "'all'"),
        ({"where": torch.ones(2, 2, 2)}, ValueError, "floating tensor"),
        ({"where": torch.full((2, 2), 2.0)}, ValueError, "outside 0..1"),
        ({"mean_gain": -0.1}, ValueError, "mean_gain"),
        ({"as_published": True, "transition": 1.0}, ValueError, "as_published"),
        ({"strength": 2.0}, ValueError, "strength"),
    ],
)
def test_bad_settings(settings, error, words):
    with pytest.raises(error, match=words):
        edit(**settings)


def test_tokens_are_refused_with_a_way_on():
    with pytest.raises(ValueError, match="AmplifyTokenUpdate"):
        edit().apply(torch.ones(1, 16, 8))


def test_all_edits_survive_a_file(tmp_path):
    model = nn.Sequential(nn.Identity())
    edits = [
        edit(where=torch.rand(3, 3), rows="conditional", mean_gain=1.5, transition=0.5),
        AmplifyBand("0", 1.4, 5, "random", seed=3),
        AmplifyTokenUpdate("0", 1.1, 0.3, 4, 6, 1),
    ]
    save_correction(tmp_path / "a.safetensors", Correction.of(model, [edits]))
    assert load_correction(tmp_path / "a.safetensors").ladder[0] == tuple(edits)


@pytest.mark.parametrize("cutoff", [5, 10])  # the projection, the transform
def test_strength_changes_without_a_recompile(maps, cutoff):
    graphs = []

    def counting(graph, _):
        graphs.append(graph)
        return graph.forward

    model = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1))
    with torch.no_grad():
        plain = model(maps)
        handle = attach(model, edit(cutoff=cutoff, strength=0.0))
        compiled = torch.compile(model, backend=counting, fullgraph=True)
        assert torch.equal(compiled(maps), plain)
        handle.set(strength=1.0)
        torch.testing.assert_close(compiled(maps), edit(cutoff=cutoff).apply(plain))
    assert len(graphs) == 1
    handle.remove()
    torch._dynamo.reset()


@pytest.mark.parametrize("band", ["full", "high", "random", "noise"])
def test_control_bands(maps, band):
    made = AmplifyBand("0", 3.0, 5, band, seed=1).apply(maps)
    change = (made - maps) / 2
    spectrum = torch.fft.rfft2(change)
    low = radius(16, 16) < 5
    if band == "full":
        torch.testing.assert_close(made, 3 * maps)
    if band == "high":
        assert spectrum[..., low].abs().max() < 1e-3
        torch.testing.assert_close(change + low_change(maps, Band(5), 1.0), maps, atol=1e-5, rtol=0)
    if band == "random":
        full = torch.fft.fft2(change)[0, 0].abs() > 1e-3
        assert abs(int(full.sum()) - 69) <= 1
        assert not full[0, 0]
        assert not torch.equal(AmplifyBand("0", 3.0, 5, band, seed=2).apply(maps), made)
    if band == "noise":
        energy = low_change(maps, Band(5), 1.0).square().mean((-2, -1))
        torch.testing.assert_close(change.square().mean((-2, -1)), energy, rtol=1e-3, atol=1e-5)
    assert torch.equal(AmplifyBand("0", 3.0, 5, band, strength=0.0).apply(maps), maps)


def test_bad_control_bands():
    with pytest.raises(ValueError, match="'low'"):
        AmplifyBand("0", 2.0, 5, "low")
    with pytest.raises(ValueError, match="maps"):
        AmplifyBand("0", 2.0, 5, "full").apply(torch.ones(1, 4, 4))


class TestTokens:
    def test_the_update_is_amplified_and_the_stream_is_not(self):
        class Block(nn.Module):
            def forward(self, hidden_states, text):
                return text + 1, hidden_states + self.update

        block = Block()
        block.update = torch.randn(2, 24, 5, generator=torch.Generator().manual_seed(0))
        before, text = torch.randn(2, 24, 5), torch.randn(2, 3, 5)
        model = nn.ModuleDict({"block": block})
        with edited(model, AmplifyTokenUpdate("block", 2.0, 1.5, 4, 6, stream=1, cutoff_unit="bins")):
            told, made = block(hidden_states=before, text=text)
        assert torch.equal(told, text + 1)
        maps = block.update.transpose(1, 2).reshape(2, 5, 4, 6)
        expected = before + block.update + low_change(maps, Band(1.5), 1.0).flatten(2).transpose(1, 2)
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(
        ("settings", "words"), [({"height": 3}, "two sizes"), ({"gain": -1.0}, "gain"), ({"cutoff": 0.0}, "cutoff")]
    )
    def test_bad_settings(self, settings, words):
        with pytest.raises(ValueError, match=words):
            AmplifyTokenUpdate(**{"layer": "0", "gain": 1.1, "cutoff": 0.3} | settings)

    def test_a_grid_that_does_not_fit(self):
        with pytest.raises(ValueError, match="height and width"):
            AmplifyTokenUpdate("0", 1.1, 0.3).apply(torch.ones(1, 24, 5))
        assert AmplifyTokenUpdate("0", 1.1, 0.3).apply(torch.ones(1, 25, 5)).shape == (1, 25, 5)
