"""Kept work is named by all that it depends on."""

from dataclasses import replace

import torch
from torch import nn

from genmend.gans import Generator
from genmend.gans.generator import generator_facts
from genmend.storage.digests import settings_key


def _generator():
    net = nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.ConvTranspose2d(4, 3, 4), nn.ReLU())
    return Generator(net.eval().requires_grad_(False), latent_shape=(4,), layers=("2",))


def test_other_weights_and_other_settings_of_the_same_weights_are_other_work():
    generator = _generator()
    plain = settings_key(generator_facts(generator))
    assert plain == settings_key(generator_facts(replace(generator, name="renamed", batch_size=2)))
    assert plain != settings_key(generator_facts(replace(generator, settings={"label": 3})))
    with torch.no_grad():
        generator.module[1].weight[0, 0, 0, 0] += 1
    assert plain != settings_key(generator_facts(generator))
