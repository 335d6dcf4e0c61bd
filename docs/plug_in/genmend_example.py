"""What a plug-in can add to genmend: a generator, a voice, an extractor and a corrector."""

import torch
from torch import Tensor, nn

from genmend.activations import Edit, ScaleUnits
from genmend.gans import Generator
from genmend.gans.correctors.corrector import Corrector, FitSamples
from genmend.gans.settings import DetectorSettings
from genmend.tts import Voice, load_voice


def patterns() -> Generator:
    """A generator: a module in eval mode, the shape of a latent, and what black and white are in its images."""
    torch.manual_seed(0)
    layers = (
        nn.Linear(8, 12 * 8 * 8),
        nn.Unflatten(1, (12, 8, 8)),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 3, 4, 4),
        nn.Tanh(),
    )
    return Generator(nn.Sequential(*layers).eval().requires_grad_(False), (8,), value_range=(-1, 1), name="patterns")


def steady_tacotron(**options: object) -> Voice:
    """A voice, given the options of whoever loads it: here one of genmend's, whose attention cannot run away."""
    return load_voice("tacotron", attention_window=(1, 3), **options)


def thumbnails() -> nn.Module:
    """An extractor: images (n, 3, h, w) in 0..1 to features (n, d)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


class Dimmer(Corrector):
    """A corrector: here the first unit of the first layer at half its strength, the same for every sample."""

    is_static = True

    def _fit(self, samples: FitSamples, progress: bool) -> None:
        self.layer_ = samples.generator.layers[0]

    def edits(self, latents: Tensor) -> tuple[Edit, ...]:
        """What is done to the samples of these latents."""
        return (ScaleUnits(self.layer_, (0,), 0.5),)


def dimmer(settings: DetectorSettings) -> Dimmer:
    """A corrector is made of the settings that its run's detector has."""
    return Dimmer()
