"""Creativity for diffusion pipelines: amplify low frequencies in their blocks, and choose the gains by measurement."""

from diffusion.amplify import AmplifyLowFrequencies
from diffusion.blocks import block_layers, denoiser_of
from diffusion.choice import amplification_edits
from diffusion.control_bands import AmplifyBand
from diffusion.frequency_bands import band_share
from diffusion.plug_in import (
    Amplification,
    amplified,
    disable_amplification,
    enable_amplification,
    save_amplification,
)
from diffusion.presets import PRESETS, Preset
from diffusion.sigma import SigmaWindow
from diffusion.token_update import AmplifyTokenUpdate

__all__ = [
    "PRESETS",
    "Amplification",
    "AmplifyBand",
    "AmplifyLowFrequencies",
    "AmplifyTokenUpdate",
    "Preset",
    "SigmaWindow",
    "amplification_edits",
    "amplified",
    "band_share",
    "block_layers",
    "denoiser_of",
    "disable_amplification",
    "enable_amplification",
    "save_amplification",
]
