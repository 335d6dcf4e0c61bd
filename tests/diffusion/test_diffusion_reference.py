"""The reference pipeline, with its trained weights: it draws what it is asked for, and the edits act on it."""

import pytest
import torch

from genmend.diffusion import amplified, draw, search_gains
from genmend.diffusion.pipeline_parts import block_layers
from genmend.diffusion.reference import garment_in, garment_scorer, guide_usability, load_reference, novelty_extractor

FAST = {"num_inference_steps": 6, "guidance_scale": 3.0}


@pytest.fixture(scope="module")
def pipe():
    return load_reference()


def test_it_draws_what_the_prompt_says(pipe):
    """Garments that nothing else looks like; all ten are measured by `experiments.garments.samples`."""
    judge = garment_scorer("judge")
    for prompt in ("a photo of trousers", "a creative ankle boot"):
        images = draw(pipe, prompt, range(8), **FAST)
        assert images.shape == (8, 3, 32, 32)
        assert 0 <= images.min() < 0.1
        assert 0.5 < images.max() <= 1
        assert (judge(images, prompt) > 0.5).mean() >= 0.75
    assert judge(images, "a bag").mean() < 0.3


def test_every_block_that_is_amplified_has_maps_of_16x16(pipe):
    seen = {}
    for slot in ("down0", "down1", "mid"):
        layer = pipe.unet.get_submodule(block_layers(pipe.unet)[slot])
        layer.register_forward_hook(
            lambda _, __, output, slot=slot: seen.__setitem__(
                slot, (output[0] if isinstance(output, tuple) else output).shape[-2:]
            )
        )
    draw(pipe, "a bag", [0], num_inference_steps=1)
    assert seen == dict.fromkeys(("down0", "down1", "mid"), (16, 16))


def test_amplification_changes_images_and_gain_1_no_bit(pipe):
    plain = draw(pipe, "a creative bag", range(2), **FAST)
    with amplified(pipe, down=(1.0, 1.0), mid=1.0):
        assert torch.equal(draw(pipe, "a creative bag", range(2), **FAST), plain)
    with amplified(pipe, down=(1.5, 2.0), mid=2.0, cutoff=5):
        made = draw(pipe, "a creative bag", range(2), **FAST)
    assert (made - plain).abs().mean() > 0.01
    assert torch.equal(draw(pipe, "a creative bag", range(2), **FAST), plain)


def test_a_small_search_with_the_embedded_scorers(pipe):
    features = novelty_extractor()

    def far_from_black(images, prompt):
        return features(images).norm(dim=1).numpy()

    found = search_gains(
        pipe, "a bag", guide_usability(), far_from_black, range(4), n_trials=2, n_refined=1, num_inference_steps=2
    )
    assert set(found.gains) == {"down0", "down1", "mid"}
    assert all(trial.comparison.usability["guide"] > 0 for trial in found.trials)


def test_garments_in_prompts():
    assert [garment_in(p) for p in ("a t-shirt", "a SHIRT", "unusual pants", "a boot", "a handbag")] == [0, 6, 1, 9, 8]
    with pytest.raises(ValueError, match="names none"):
        garment_in("a teapot")
