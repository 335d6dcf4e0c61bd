"""Which tokens of a transformer are amplified: those of what is drawn, on their grid, never text or references."""

from dataclasses import fields
from pathlib import Path

import diffusers
import numpy as np
import pytest
import tiny_transformers
import torch
from tiny_transformers import TINY

from genmend.diffusion import amplified, disable_amplification, enable_amplification
from genmend.diffusion.amplification.attached import enabled_on
from genmend.diffusion.amplification.families import FAMILIES, REFUSED, family_table, supported
from genmend.diffusion.amplification.token_layouts import default_blocks
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate
from genmend.diffusion.pipeline_parts import is_transformer
from genmend.diffusion.search.settings import AmplifySettings


class Watched:
    """What each block takes and returns, and what the network returns."""

    def __init__(self, network, layers, given):
        self.before, self.after = {}, {}
        hooks = []
        for layer in layers:
            block = network.get_submodule(layer)
            hooks += [
                block.register_forward_pre_hook(self.took(layer), with_kwargs=True),
                block.register_forward_hook(self.returned(layer)),
            ]
        with torch.no_grad():
            made = network(**given, return_dict=False)[0] if "return_dict" not in given else network(**given)[0]
        self.made = torch.stack(made) if isinstance(made, list) else made
        for hook in hooks:
            hook.remove()

    def took(self, layer):
        def note(block, inputs, named):
            self.before[layer] = (named.get("hidden_states") if "hidden_states" in named else inputs[0]).clone()

        return note

    def returned(self, layer):
        def note(block, inputs, output):
            self.after[layer] = [
                None if part is None else part.clone() for part in (output if isinstance(output, tuple) else (output,))
            ]

        return note


def low(update, n_frames, height, width, cutoff):
    """The low band of tokens ``(tokens, channels)``, by the definition of the discrete Fourier transform."""
    maps = update.double().numpy().reshape(n_frames, height, width, -1)
    down, across = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    inside = (down[:, None] ** 2 + across[None] ** 2 < cutoff**2)[None, :, :, None]
    found = np.fft.ifft2(np.fft.fft2(maps, axes=(1, 2)) * inside, axes=(1, 2)).real
    return torch.tensor(found.reshape(len(update), -1))


def first_tokens(where, given, tokens, n_text, drawn):
    """Of each row the first drawn token."""
    if where == "text" and "encoder_attention_mask" in given:
        return [int(row.sum()) for row in given["encoder_attention_mask"]]
    return [{"first": 0, "text": n_text, "last": tokens.shape[1] - drawn}[where]] * len(tokens)


@pytest.mark.parametrize(("height", "width", "n"), [(3, 12, 2), (4, 6, 1)])
@pytest.mark.parametrize("family", TINY)
def test_what_is_drawn_on_its_grid_and_nothing_else(family, height, width, n):
    torch.manual_seed(0)
    tiny = TINY[family]
    height, width = (6, 6) if tiny.square else (height, width)
    network, given = tiny.called(height, width, n)
    layers = {f"{name}.{i}": at for name, at in tiny.blocks.items() for i in range(len(getattr(network, name)))}
    drawn = tiny.frames * height * width
    plain = Watched(network, layers, given)
    for number, (layer, (stream, where)) in enumerate(layers.items()):
        active = enable_amplification(network, blocks={number: 3.0}, cutoff=2, cutoff_unit="bins")
        assert [edit.layer for edit in active.edits] == [layer]
        made = Watched(network, layers, given)
        before, output = plain.before[layer], plain.after[layer]
        expected = output[stream].double()
        starts = first_tokens(where, given, output[stream], height * width, drawn)
        for row, start in enumerate(starts):
            update = (output[stream] - before)[row, start : start + drawn]
            expected[row, start : start + drawn] += 2 * low(update, tiny.frames, height, width, 2)
        torch.testing.assert_close(made.after[layer][stream].double(), expected, atol=1e-4, rtol=1e-4)
        changed = made.after[layer][stream] != output[stream]
        for row, start in enumerate(starts):
            assert not changed[row, :start].any()
            assert not changed[row, start + drawn :].any()
            assert changed[row, start : start + drawn].any(1).all()
        for i, (one, other) in enumerate(zip(made.after[layer], output, strict=True)):
            assert i == stream or one is None or torch.equal(one, other)
        assert (made.made - plain.made).abs().max() > 1e-4
        active.set(strength=0.0)
        assert torch.equal(Watched(network, layers, given).made, plain.made)
        disable_amplification(network)
    assert torch.equal(Watched(network, layers, given).made, plain.made)
    assert enabled_on(network) is None
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_the_table_is_of_the_families_that_are_tried_here():
    assert {type(tiny.called(6, 6)[0]).__name__ for tiny in TINY.values()} == set(FAMILIES)
    names = ", ".join(family.names for family in FAMILIES.values())
    assert set(names.split(", ")) >= {name for name in TINY if name != "FLUX.2 with references"}


def test_the_middle_third_where_nobody_says_more():
    for n, expected in ((1, [0]), (2, [0, 1]), (3, [1]), (6, [2, 3]), (57, list(range(19, 38)))):
        network = type("FluxTransformer2DModel", (torch.nn.Module,), {})()
        network.transformer_blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(n))
        assert list(default_blocks(network)) == expected


def test_the_docs_and_the_help_hold_the_table():
    assert family_table() in (Path(__file__).parents[3] / "docs" / "diffusion.md").read_text()
    assert supported() in next(f for f in fields(AmplifySettings) if f.name == "blocks").metadata["help"]


@pytest.mark.parametrize("family", ["FLUX.1", "Z-Image", "Lumina 2", "Wan"])
def test_the_whole_pipeline(family):
    pipe, given = TINY[family].made(3, 12, 1)

    def drawn():
        return pipe(**given, num_inference_steps=2, output_type="latent", generator=torch.Generator().manual_seed(0))[0]

    plain = drawn()
    with amplified(pipe, blocks={0: 3.0}) as active:
        assert not torch.equal(drawn(), plain)
        active.set(strength=0.0)
        assert torch.equal(drawn(), plain)
    assert torch.equal(drawn(), plain)


class Unknown(torch.nn.Module):
    """A transformer of another family: who knows which of its tokens are text."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Identity()])


class LatteTransformer3DModel(Unknown):
    """A network that is known by its name to be none of those."""


@pytest.mark.parametrize("made", [
    Unknown,
    LatteTransformer3DModel,
    lambda: diffusers.OmniGenTransformer2DModel(
        in_channels=4, hidden_size=16, num_attention_heads=2, num_key_value_heads=2, intermediate_size=16, num_layers=1,
        pad_token_id=0, vocab_size=8, time_step_dim=8,
        rope_scaling={"short_factor": [1.0] * 4, "long_factor": [1.0] * 4},
    ),
])  # fmt: skip
def test_another_family_is_refused_as_the_transformer_it_is(made):
    network = made()
    assert is_transformer(network)
    name = type(network).__name__
    with pytest.raises(ValueError, match="is a transformer whose image tokens are not known") as refusal:
        amplified(network, blocks={0: 1.1}).__enter__()
    assert REFUSED.get(name, ("", "accepted"))[1] in str(refusal.value)
    assert not network._forward_pre_hooks


@pytest.mark.parametrize("change", [
    lambda given: {"img_ids": given["img_ids"].flip(0)},
    lambda given: {"img_ids": given["img_ids"][:, [0, 2, 1]]},
    lambda given: {"img_ids": given["img_ids"] + torch.tensor([1, 0, 0])},  # several that are drawn begin at 1
    lambda given: {"img_ids": torch.cat([given["img_ids"] + torch.tensor([1, 0, 0]), given["img_ids"]]),
                   "hidden_states": torch.cat([given["hidden_states"]] * 2, 1)},
])  # fmt: skip
def test_ids_that_are_no_grid_are_refused(change):
    network, given = TINY["FLUX.1"].called(3, 12)
    with amplified(network, blocks={0: 1.5}), pytest.raises(ValueError, match="begin with a whole grid"):
        network(**given | change(given))


@pytest.mark.parametrize(("family", "change"), [
    ("Z-Image", lambda given: {"x": [given["x"]] * 2}),  # Omni
    ("Z-Image", lambda given: {"x": [given["x"][0], given["x"][0][..., :8]]}),
    ("Lumina 2", lambda given: {"encoder_attention_mask": None}),
    ("Qwen-Image", lambda given: {"additional_t_cond": torch.zeros(1).long()}),  # layers, each of which is drawn
    ("Qwen-Image", lambda given: {"img_shapes": None}),
    ("FLUX.2", lambda given: {"kv_cache_mode": "extract"}),  # references first
    ("Stable Diffusion 3.5", lambda given: {"hidden_states": given["hidden_states"].flatten(2)}),
])  # fmt: skip
def test_a_call_that_does_not_say_is_refused(family, change):
    network, given = TINY[family].called(4, 6)
    with amplified(network, blocks={0: 1.5}), pytest.raises(ValueError, match="is not known; give"):
        network(**given | change(given))


def test_an_edit_of_the_text_is_refused():
    flux, given = TINY["FLUX.1"].called(3, 12)
    z_image, _ = TINY["Z-Image"].called(3, 12)
    flux2, _ = TINY["FLUX.2"].called(3, 12)
    for network, edit, words in (
        (flux, AmplifyTokenUpdate("transformer_blocks.0", 1.5, 0.3), "image tokens in stream 1"),
        (flux2, AmplifyTokenUpdate("single_transformer_blocks.0", 1.5, 0.3), "image tokens in stream -1"),
        (z_image, AmplifyTokenUpdate("context_refiner.0", 1.5, 0.3), "none of its 2 blocks with image tokens"),
        (flux, AmplifyTokenUpdate("transformer_blocks.0.attn", 1.5, 0.3, 3, 12, 1), "none of its 2 blocks"),
    ):
        with pytest.raises(ValueError, match=words):
            amplified(network, edits=[edit]).__enter__()
    other = AmplifyTokenUpdate("transformer_blocks.0", 1.5, 0.3, 4, 9, 1)
    with amplified(flux, edits=[other]), pytest.raises(ValueError, match=r"for 4 x 9 image tokens, but .* 3 x 12"):
        flux(**given)
    with pytest.raises(ValueError, match="height and width"):  # text and image together: no square may be guessed
        AmplifyTokenUpdate("0", 1.5, 0.3, stream=-1).apply(torch.ones(1, 36, 4))


@pytest.mark.parametrize("cached_first", [True, False])
def test_the_ends_of_cached_blocks_are_refused(cached_first):
    """The first block returns what all changed at an earlier step, the last one's edit would not be kept."""
    pipe, given = TINY["FLUX.1"].made(4, 6, 1)
    pipe.transformer = tiny_transformers.shaken(
        type(pipe.transformer).from_config({**pipe.transformer.config, "num_layers": 2})
    )
    cache = diffusers.FirstBlockCacheConfig(threshold=1e9)

    def drawn():
        draw = torch.Generator().manual_seed(0)
        return pipe(**given, num_inference_steps=3, output_type="latent", generator=draw)[0]

    plain = drawn()
    for number, fits in enumerate([False, True, False]):
        if cached_first:
            pipe.transformer.enable_cache(cache)
        enable_amplification(pipe, blocks={number: 3.0})
        if not cached_first:
            pipe.transformer.enable_cache(cache)
        if fits:
            assert not torch.equal(drawn(), plain)
        else:
            with pytest.raises(ValueError, match="at an end of the blocks that a cache skips"):
                drawn()
        pipe.transformer.disable_cache()
        disable_amplification(pipe)
    assert torch.equal(drawn(), plain)


def test_references_are_no_part_of_the_grid():
    """Wherever they stand, whatever the user says of the grid."""
    network, given = tiny_transformers.flux2_references(3, 12)
    layer = "single_transformer_blocks.0"
    plain = Watched(network, [layer], given).after[layer][0]
    with amplified(network, edits=[AmplifyTokenUpdate(layer, 3.0, 0.5, 3, 12, -1)]):
        made = Watched(network, [layer], given).after[layer][0]
    changed = (made != plain).any(-1)[0]
    assert changed.tolist() == [False] * 36 + [True] * 36 + [False] * 72
