"""Tiny models for the files in data/. Their weights are drawn by numpy's RandomState, whose stream is frozen, as small
multiples of 1/16: the same bits on every machine. Sums of such numbers are exact in float32 while they are short, so
the generator's images are the same bits everywhere too."""

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torchaudio.models import Tacotron2

from genmend.gans import Generator
from genmend.tts.voices.mel import LogMel
from genmend.tts.voices.tacotron import TacotronVoice

EXTRACTOR = "old_toys:toy_extractor"  # stands in the files
LATENT_SHAPE = (8,)
SYMBOLS = ["^", "$", " ", ".", *"abdeimnostuɐɔəˈː"]
TACOTRON = {
    "n_mels": 6,
    "symbol_embedding_dim": 8,
    "encoder_embedding_dim": 8,
    "attention_rnn_dim": 6,
    "decoder_rnn_dim": 6,
    "prenet_dim": 4,
    "attention_hidden_dim": 4,
    "attention_location_n_filter": 2,
    "attention_location_kernel_size": 5,
    "postnet_embedding_dim": 4,
}
MEL = {"sample_rate": 8_000, "n_fft": 256, "hop": 80, "n_mels": 6, "highest": 4_000.0}


def numbers(shape, seed, step=1 / 16, most=16):
    """Multiples of `step` up to `most` steps from 0, float32."""
    drawn = np.random.RandomState(seed).randint(-most, most + 1, shape) * step
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))


def filled(module, seed, step=1 / 16, most=8):
    """The module with drawn weights, in evaluation mode; variances are positive."""
    for i, (name, values) in enumerate(module.state_dict().items()):
        if values.is_floating_point():
            drawn = numbers(tuple(values.shape), 1000 * seed + i, step, most)
            values.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return module.eval().requires_grad_(False)


class ToyNet(nn.Module):
    """(n, 8) -> (n, 3, 8, 8) in -1..1; every sum is exact in float32."""

    def __init__(self):
        super().__init__()
        self.stem = nn.ConvTranspose2d(8, 6, 4)
        self.stem_act = nn.ReLU()
        self.widen = nn.ConvTranspose2d(6, 5, 4, 2, 1)
        self.widen_act = nn.LeakyReLU(0.25)
        self.paint = nn.Conv2d(5, 3, 3, padding=1)
        self.end = nn.Hardtanh()

    def forward(self, z):
        maps = self.widen_act(self.widen(self.stem_act(self.stem(z[:, :, None, None]))))
        return self.end(self.paint(maps) / 2)


def toy_generator():
    net = filled(ToyNet(), 1, step=1 / 8, most=4)
    return Generator(net, LATENT_SHAPE, ("stem_act", "widen_act"), name="old toy", settings={"psi": 0.5})


def toy_latents(n=8, seed=0):
    return numbers((n, *LATENT_SHAPE), 100 + seed, step=1 / 4, most=8)


def toy_features(images):
    """(n, 3, 8, 8) -> (n, 12)."""
    return nn.functional.avg_pool2d(images, 4).flatten(1)


def toy_extractor():
    return toy_features


class Keyed:
    """An extractor whose features are cached by `pipeline`; it counts its calls."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, images):
        self.n_calls += 1
        return toy_features(images)

    def pipeline(self):
        return {"extractor": "old toy", "numbers": [1, 0.5]}


class Colours:
    """Concepts whose masks are kept."""

    names = ("is red", "is green")

    def __call__(self, images):
        return images[:, :2] > 0.95


def toy_unet():
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 4, 4),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        cross_attention_dim=4,
        attention_head_dim=4,
        norm_num_groups=2,
    )
    return filled(unet, 2)


class ToyPipe:
    """As much of a pipeline as is saved: its images are the U-Net's outputs."""

    def __init__(self):
        self.unet = toy_unet()

    def set_progress_bar_config(self, **options):
        pass

    def __call__(self, prompt, generator, output_type):
        raise AssertionError("Scores that were kept are not drawn again.")


def toy_voice():
    model = filled(Tacotron2(n_symbol=len(SYMBOLS), decoder_max_step=8, **TACOTRON), 3)
    return TacotronVoice(model, SYMBOLS, LogMel(**MEL))


def toy_sentences(voice, n=30, seed=0):
    draws = np.random.RandomState(seed)
    sounds = [symbol for symbol in SYMBOLS[4:] if symbol not in "ˈː"]
    words = [["ˈ" + "".join(draws.choice(sounds, 3)) for _ in range(3)] for _ in range(n)]
    return [voice.tokenize(phonemes=" ".join(sentence)) for sentence in words]
