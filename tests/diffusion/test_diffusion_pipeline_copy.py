"""Copies of a pipeline over the same weights: two may draw at once, each with its own amplification."""

from threading import Barrier, Thread

import pytest
import torch

from genmend.diffusion import amplified, draw
from genmend.diffusion.pipeline_copy import copy_with_shared_weights
from genmend.diffusion.reference import load_reference
from genmend.storage.progress import progress_to

FAST = {"num_inference_steps": 4, "guidance_scale": 3.0}


def test_copies_draw_at_once_as_if_alone():
    pipe = load_reference()
    gains = ({"mid": 1.0}, {"down": (1.0, 3.0), "mid": 2.0})

    def drawn(one, choice):
        with amplified(one, **choice):
            return draw(one, "a creative bag", range(2), **FAST)

    alone = [drawn(pipe, choice) for choice in gains]
    copies, together, begin = [copy_with_shared_weights(pipe) for _ in gains], [None, None], Barrier(2)

    def work(number):
        begin.wait()
        together[number] = drawn(copies[number], gains[number])

    threads = [Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not torch.equal(*alone)
    for name in ("unet", "vae", "text_encoder"):
        mine, theirs = (dict(getattr(one, name).named_parameters()) for one in (pipe, copies[0]))
        assert all(mine[key] is theirs[key] for key in mine)
        assert getattr(pipe, name) is not getattr(copies[0], name)
    assert copies[0].scheduler is not pipe.scheduler


def test_a_listener_hears_every_step_and_stops_between_two():
    pipe, heard = load_reference(), []

    def stop(step, done, total):
        heard.append((step, done, total))
        if done == 2:
            raise InterruptedError

    with progress_to(stop), pytest.raises(InterruptedError), amplified(pipe, mid=3.0):
        draw(pipe, "a bag", [0], **FAST)
    assert heard == [("images", 0, 1), ("denoising", 1, 4), ("denoising", 2, 4)]
    alone = draw(load_reference(), "a bag", [0], **FAST)
    assert torch.equal(draw(pipe, "a bag", [0], **FAST), alone)
