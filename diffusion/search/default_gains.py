"""What is amplified where the user says nothing: the preset of the model's family, told by its name or its layout."""

from __future__ import annotations

from dataclasses import replace

from genmend.diffusion.amplification.presets import PRESETS
from genmend.diffusion.amplification.token_layouts import default_blocks
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import denoiser_of, is_transformer, plain_module
from genmend.diffusion.search.settings import AmplifySettings

__all__ = ["settled"]

# Parts of a name, all of which have to be in it -> preset; the first that fits.
_BY_NAME = (
    (("turbo",), "sdxl-turbo"),
    (("lightning", "1step"), "sdxl-lightning-1"),
    (("lightning",), "sdxl-lightning-4"),
)
_CROSS_ATTENTION_OF_SD_2 = 1024


def settled(model: TextToImage, settings: AmplifySettings) -> tuple[AmplifySettings, str]:
    """Return settings that say what is amplified, and in words where that is from; "" if they said so already.

    Raises
    ------
    ValueError
        If nothing is known for the model; the message shows how to say it.
    """
    if settings.way:
        return settings, ""
    if model.gains is not None:
        named = ", ".join(f"{slot} x {gain:g}" for slot, gain in model.gains.items())
        return replace(settings, gains=dict(model.gains)), f"Gains are {model.name}'s own: {named}."
    denoiser = denoiser_of(model.pipe)
    plain = plain_module(denoiser)
    if is_transformer(denoiser):
        gains = default_blocks(denoiser)
        return replace(settings, blocks=gains), (
            f"Nothing is published for transformers: blocks {min(gains)} to {max(gains)} of {type(plain).__name__} x "
            f"{max(gains.values()):g} are ours, and not measured on this model; --blocks chooses others."
        )
    blocks = getattr(plain, "down_blocks", ())
    attention = tuple(bool(getattr(block, "has_cross_attention", False)) for block in blocks)
    fitting = [name for name, preset in PRESETS.items() if preset.attention == attention]
    if not fitting:
        slots = ",".join(f"down{i}=1.1" for i in range(len(blocks)))
        raise ValueError(
            f"No preset is known for this {type(plain).__name__}; give gains, e.g. --gains {slots},mid=1.4."
        )
    words = model.name.lower().replace("-step", "step").replace("_", "-")
    by_name = next((name for parts, name in _BY_NAME if all(part in words for part in parts)), "")
    if by_name in fitting:
        name, why = by_name, f"as the name {model.name} says"
    elif "sdxl" in fitting:
        name, why = "sdxl", "as the layout of its U-Net says"
    else:
        second = getattr(plain.config, "cross_attention_dim", None) == _CROSS_ATTENTION_OF_SD_2
        name, why = "sd-2.1" if second else "sd-1.5", "as the layout of its U-Net says"
    measured = "" if PRESETS[name].published else " Its gains are ours, and not measured on this model."
    return replace(settings, preset=name), f"Gains, steps, guidance and size are those of {name}, {why}.{measured}"
