"""A generator and an extractor of one's own in a scratch folder, and the command line run there in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from genmend.workbench.cli.main import main

SCRATCH = '''
import torch
from torch import nn


class Painter(nn.Module):
    """Latents (n, 12) to images (n, 3, 32, 32) in -1..1."""

    def __init__(self):
        super().__init__()
        self.start = nn.Linear(12, 24 * 8 * 8)
        self.wake = nn.LeakyReLU(0.2, inplace=True)
        self.grow = nn.ConvTranspose2d(24, 12, 4, 2, 1)
        self.bloom = nn.ReLU()
        self.paint = nn.ConvTranspose2d(12, 3, 4, 2, 1)

    def forward(self, z):
        x = self.wake(self.start(z).view(-1, 24, 8, 8))
        return torch.tanh(self.paint(self.bloom(self.grow(x))))


def build():
    torch.manual_seed(5)
    return Painter()


def other_weights():
    torch.manual_seed(6)
    return Painter()


def extractor():
    return lambda images: nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def flat():
    """Features without a gradient."""
    return lambda images: extractor()(images).detach()


def network():
    """Edges and their places: larger where a sample is off the prior, so that Grad-CAM finds something."""
    torch.manual_seed(7)
    edges = nn.Conv2d(3, 8, 4, 4, bias=False)
    edges.weight.data -= edges.weight.data.mean((1, 2, 3), keepdim=True)
    return nn.Sequential(edges, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
'''


def genmend(folder, *arguments, **environment):
    """Run the command line in this process: a new one would import torch every time."""
    out, err = io.StringIO(), io.StringIO()
    forget_modules(folder)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["genmend", *map(str, arguments)])
        patch.setattr(sys, "path", list(sys.path))
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as stop:
            main()
    forget_modules(folder)
    return SimpleNamespace(returncode=stop.value.code, stdout=out.getvalue(), stderr=err.getvalue())


def forget_modules(folder):
    """Forget the modules that are named like the folder's: another test's folder may have one of the same name."""
    for path in Path(folder).glob("*.py"):
        sys.modules.pop(path.stem, None)
