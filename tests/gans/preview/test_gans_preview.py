"""A preview says what a correction does, beside as much done elsewhere, and what it could not check."""

from dataclasses import replace

import pytest
import torch
from gans_toys import *  # noqa: F403

from genmend.activations import AblateNeurons, CapNeurons, Correction, PullToMean, ScaleUnits
