"""A small classifier of three classes; one that is noisy, one without a gate, one with a layer that never runs."""

import torch
from torch import nn


class Noise(nn.Module):
    def __init__(self, size=0.1):
        super().__init__()
        self.size = size

    def forward(self, maps):
        return maps + self.size * torch.randn_like(maps)


class Never(nn.Module):
    """A classifier with a nonlinearity that is not used."""

    def __init__(self):
        super().__init__()
        self.net, self.spare = classifier(), nn.ReLU()

    def forward(self, images):
        return self.net(images)


def classifier():
    torch.manual_seed(0)
    maps = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)).eval()


def gateless():
    plain = classifier()
    return nn.Sequential(plain[0], *plain[3:]).eval()


def noisy(size=0.1):
    """The noise comes before the nonlinearity ``1``."""
    plain = classifier()
    return nn.Sequential(nn.Sequential(plain[0], Noise(size)), *plain[1:]).eval()


def never():
    return Never().eval()
