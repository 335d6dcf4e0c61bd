"""Cross-attention maps against probabilities that a processor writes out, and the words they belong to."""

import diffusion_toys
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from genmend.diffusion import AmplifyLowFrequencies, amplified
from genmend.diffusion.inspection.attention_maps import attention_maps
from genmend.diffusion.inspection.token_maps import PromptTokens, TokenMaps, prompt_tokens

DRAW = {"num_inference_steps": 2, "height": 32, "width": 48, "output_type": "latent"}
FIRST = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusion_toys.sd15_unet().eval()


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return diffusion_toys.sd15(tmp_path_factory.mktemp("sd15"))


def run(unet, n=2, size=(10, 14), rows=slice(None)):
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(n, 4, *size, generator=draw), 3 * torch.randn(n, 5, 32, generator=draw)
    with torch.no_grad():
        return unet(x[rows], 300, text[rows]).sample


def draw(pipe, prompt, **settings):
    return pipe(prompt, generator=torch.Generator().manual_seed(0), **(DRAW | settings)).images


def n_hooks(module):
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())


class WrittenOut(AttnProcessor):
    """Diffusers' processor without fused attention, whose probabilities can be read."""

    seen: list

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, *args, **kwargs):
        if encoder_hidden_states is not None:
            query = attn.head_to_batch_dim(attn.to_q(hidden_states))
            key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
            self.seen.append(attn.get_attention_scores(query, key).unflatten(0, (-1, attn.heads)))
        return super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kwargs)


def written_out(unet, size, **settings):
    """Definition in float64, for a grid of ``size`` and its halves."""
    before = unet.attn_processors
    processor = WrittenOut()
    processor.seen = []
    unet.set_attn_processor(processor)
    run(unet, size=size, **settings)
    unet.set_attn_processor(before)
    grids = {size[0] * size[1]: size}
    height, width = size
    for _ in range(3):
        height, width = -(-height // 2), -(-width // 2)
        grids[height * width] = (height, width)
    maps = [
        torch.nn.functional.interpolate(
            found.double().mean(1).transpose(1, 2).unflatten(2, grids[found.shape[2]]), size, mode="bicubic"
        ).clamp(0, 1)
        for found in processor.seen
    ]
    return torch.stack(maps).mean(0)


@pytest.mark.parametrize("size", [(8, 8), (10, 14), (9, 5)])
def test_equals_the_definition_at_any_aspect_ratio(unet, size):
    with attention_maps(unet) as running:
        run(unet, size=size)
    maps = running.result().maps
    assert maps.shape == (2, 5, *size)
    torch.testing.assert_close(maps.double(), written_out(unet, size), atol=1e-5, rtol=1e-5)


def test_one_layer_is_a_distribution_over_tokens(unet):
    with attention_maps(unet, layers=[FIRST]) as running:
        run(unet)
    result = running.result()
    torch.testing.assert_close(result.maps.sum(1), torch.ones(2, 10, 14))
    assert result.layers == (FIRST,)
    assert result.maps.std() > 1e-3


def test_the_output_keeps_every_bit_and_nothing_stays(unet):
    plain, n_before, processors = run(unet), n_hooks(unet), unet.attn_processors
    with attention_maps(unet):
        assert torch.equal(run(unet), plain)
    with pytest.raises(KeyError), attention_maps(unet):
        raise KeyError
    assert n_hooks(unet) == n_before
    assert all(unet.attn_processors[name] is processor for name, processor in processors.items())


def test_under_guidance_the_second_half_counts(unet):
    with attention_maps(unet, guided=True) as guided:
        run(unet, n=4)
    with attention_maps(unet) as alone:
        run(unet, n=4, rows=slice(2, 4))
    torch.testing.assert_close(guided.result().maps, alone.result().maps, atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="3 rows"), attention_maps(unet, guided=True):
        run(unet, n=3)


class TestPipeline:
    @pytest.mark.parametrize("scale", [0.0, 5.0])
    def test_images_words_and_no_guidance(self, pipe, scale):
        prompts = ["a red chair", "tree"]
        with attention_maps(pipe) as running:
            draw(pipe, prompts, guidance_scale=scale, num_images_per_prompt=2)
        result = running.result(prompts)
        assert result.maps.shape == (4, 16, 16, 24)
        assert result.n_steps == 2
        assert [[word for word, _ in prompt.words] for prompt in result.prompts] == [["a", "red", "chair"]] * 2 + [
            ["tree"]
        ] * 2
        torch.testing.assert_close(result.for_word("Chair", 1), result.maps[1, 5:10].mean(0))
        torch.testing.assert_close(result.for_word("red chair"), result.maps[0, 2:10].mean(0))
        assert (result.prompts[0].sos, result.prompts[0].eos) == (0, 10)
        assert torch.equal(result.for_token(result.prompts[2].eos, 2), result.maps[2, 5])
        with pytest.raises(ValueError, match=r"'table' is not in the prompt, whose words are \['tree'\]"):
            result.for_word("table", 3)

    def test_no_guidance_takes_all_rows_and_all_heads(self, pipe):
        """Two images in one batch have the maps that each has alone."""
        with attention_maps(pipe) as both:
            draw(pipe, ["sky", "tree"], guidance_scale=0.0, num_inference_steps=1)
        latents = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(0))
        with attention_maps(pipe) as second:
            draw(pipe, "tree", guidance_scale=0.0, num_inference_steps=1, latents=latents[1:])
        torch.testing.assert_close(both.result().maps[1:], second.result().maps, atol=1e-5, rtol=1e-4)

    def test_a_map_is_a_mask_of_the_edit(self, pipe):
        with attention_maps(pipe) as running:
            plain = draw(pipe, "a red chair")
        where = running.result("a red chair").for_word("chair", scaled=True)
        assert (float(where.min()), float(where.max())) == (0.0, 1.0)
        with amplified(pipe, edits=[AmplifyLowFrequencies("mid_block", 3.0, 2, where=where)]):
            assert (draw(pipe, "a red chair") - plain).abs().max() > 1e-4

    def test_beside_a_compiled_denoiser(self, pipe, monkeypatch):
        with attention_maps(pipe) as running:
            draw(pipe, "sky")
        expected = running.result().maps
        torch._dynamo.reset()
        monkeypatch.setattr(pipe, "unet", torch.compile(pipe.unet, backend="eager"))
        with attention_maps(pipe) as running:
            draw(pipe, "sky")
        torch.testing.assert_close(running.result().maps, expected)
        assert running.result().n_steps == 2

    def test_dictionary_and_picture(self, pipe):
        with attention_maps(pipe) as running:
            images = draw(pipe, ["a chair", "sky"], num_inference_steps=1, output_type="np")
        result = running.result(["a chair", "sky"])
        found = result.to_dict()
        assert [(one["image"], one["word"]) for one in found["words"]] == [(0, "a"), (0, "chair"), (1, "sky")]
        assert found["words"][1]["mean"] == pytest.approx(float(result.for_word("chair").mean()))
        assert (found["height"], found["width"], found["n_tokens"]) == (16, 24, 16)
        assert len(result.plot().axes) == 4
        assert len(result.plot(images).axes) == 6


def test_pixart_has_cross_attention_with_a_mask(tmp_path):
    transformer = diffusion_toys.pixart(tmp_path).transformer
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    with torch.no_grad(), attention_maps(transformer) as running:
        transformer(
            torch.randn(2, 4, 8, 12),
            encoder_hidden_states=torch.randn(2, 5, 32),
            timestep=torch.tensor([5, 5]),
            encoder_attention_mask=mask,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        )
    maps = running.result().maps
    assert maps.shape == (2, 5, 4, 6)
    assert maps[0, 3:].max() < 1e-6
    assert maps[1, 3:].min() > 1e-3
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 4, 6))


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_joint_attention_is_not_supported(family, tmp_path):
    pipe = getattr(diffusion_toys, family)(tmp_path)
    with pytest.raises(TypeError, match=r"jointly.* not supported"), attention_maps(pipe):
        pass


def test_what_does_not_fit(unet):
    with pytest.raises(ValueError, match="no cross-attention"), attention_maps(unet, layers=["mid_block"]):
        pass
    with pytest.raises(TypeError, match="no cross-attention"), attention_maps(torch.nn.Linear(2, 2)):
        pass
    with attention_maps(unet) as running:
        with pytest.raises(RuntimeError, match="has run yet"):
            running.result()
        run(unet)
        with pytest.raises(ValueError, match="3 prompts"):
            running.result(["a"] * 3)
        with pytest.raises(ValueError, match="no tokenizer"):
            running.result("a")
        with pytest.raises(ValueError, match="one block for each run"):
            run(unet, size=(8, 8))
    with pytest.raises(ValueError, match="No prompt was given"):
        running.result().for_word("a")


def test_what_was_seen_is_where_it_is():
    maps = torch.zeros(1, 3, 4, 6)
    maps[0, 1, 3, 0] = 0.5
    prompt = PromptTokens(("<s>", "sky", "</s>"), (("sky", (1,)),), 0, 2)
    result = TokenMaps(maps, (prompt,), 1, ("a",))
    assert result.to_dict()["words"][0]["centre"] == pytest.approx([3.5 / 4, 0.5 / 6])
    assert torch.equal(result.for_word("sky", scaled=True), 2 * maps[0, 1])
    assert torch.equal(result.for_token(0, scaled=True), torch.ones(4, 6))


class SentencePiece:
    """Marks where words begin, as T5's tokenizer does."""

    pieces = ("<pad>", "</s>", "▁Ca", "fé", "▁au", "▁l", "ait")
    all_special_ids = (0, 1)
    bos_token_id, eos_token_id = None, 1

    def __call__(self, prompt, max_length, **settings):
        return {"input_ids": [2, 3, 4, 5, 6, 1] + [0] * (max_length - 6)}

    def convert_ids_to_tokens(self, ids):
        return [self.pieces[i] for i in ids]

    def decode(self, ids):
        return "".join(self.convert_ids_to_tokens(ids)).replace("▁", " ")


def test_words_of_a_sentence_piece_tokenizer():
    read = prompt_tokens(SentencePiece(), "Café au lait", 8)
    assert read.words == (("café", (0, 1)), ("au", (2,)), ("lait", (3, 4)))
    assert (read.sos, read.eos) == (None, 5)
    assert read.positions("CAFÉ au") == (0, 1, 2)


@pytest.mark.parametrize("n_tokens", [16, 32])  # cut to one window of the text encoder, or read in two
def test_words_behind_the_first_window_are_refused(tmp_path, n_tokens):
    words = ["red", "chair", "old", "lamp", "bed"]  # a token each letter: "lamp" does not fit into 14 whole
    maps = TokenMaps(
        torch.rand(1, n_tokens, 4, 4),
        (prompt_tokens(diffusion_toys.tokenizer(tmp_path), " ".join(words), n_tokens),),
        1,
        (),
    )
    assert torch.equal(maps.for_word("old"), maps.maps[0, 9:12].mean(0))
    assert [word["word"] for word in maps.to_dict()["words"]] == words[:3]
    for word in words[3:]:
        with pytest.raises(ValueError, match="not among the first 3 words"):
            maps.for_word(word)
    whole = prompt_tokens(diffusion_toys.tokenizer(tmp_path), "red chair", n_tokens)
    assert not whole.cut
