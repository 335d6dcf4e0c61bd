"""Creativity for diffusion pipelines: amplify low frequencies in their blocks, and choose the gains by measurement."""

from diffusion.amplify import AmplifyLowFrequencies
from diffusion.attention_maps import attention_maps
from diffusion.band_energy import BandEnergies, band_energy
from diffusion.blocks import block_layers, denoiser_of
from diffusion.boosted_noise import boosted_latents, later_timesteps
from diffusion.cads import cads
from diffusion.capture import BlockFeatures, capture
from diffusion.choice import amplification_edits
from diffusion.control_bands import AmplifyBand
from diffusion.drawing import draw
from diffusion.freeu import FREEU_SETTINGS, freeu
from diffusion.frequency_bands import band_share
from diffusion.gain_search import GainSearch, search_gains
from diffusion.novelty import Novelty
from diffusion.plug_in import (
    Amplification,
    amplified,
    disable_amplification,
    enable_amplification,
    save_amplification,
)
from diffusion.presets import PRESETS, Preset
from diffusion.published_search import PublishedChoice, published_search
from diffusion.scorers import aesthetic_score, class_probability, clip_score, lpips_change
from diffusion.sigma import SigmaWindow
from diffusion.token_maps import TokenMaps
from diffusion.token_update import AmplifyTokenUpdate
from diffusion.trials import Comparison, Scores, compared, measure_of
from diffusion.vendi_gain import VendiGain

__all__ = [
    "FREEU_SETTINGS",
    "PRESETS",
    "Amplification",
    "AmplifyBand",
    "AmplifyLowFrequencies",
    "AmplifyTokenUpdate",
    "BandEnergies",
    "BlockFeatures",
    "Comparison",
    "GainSearch",
    "Novelty",
    "Preset",
    "PublishedChoice",
    "Scores",
    "SigmaWindow",
    "TokenMaps",
    "VendiGain",
    "aesthetic_score",
    "amplification_edits",
    "amplified",
    "attention_maps",
    "band_energy",
    "band_share",
    "block_layers",
    "boosted_latents",
    "cads",
    "capture",
    "class_probability",
    "clip_score",
    "compared",
    "denoiser_of",
    "disable_amplification",
    "draw",
    "enable_amplification",
    "freeu",
    "later_timesteps",
    "lpips_change",
    "measure_of",
    "published_search",
    "save_amplification",
    "search_gains",
]
