"""What the Amplify tab has done for it: a comparison as ``genmend amplify`` makes it, in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genmend.diffusion.loading import TextToImage, load_text_to_image
from genmend.diffusion.pipeline_copy import copy_with_shared_weights
from genmend.diffusion.pipeline_folder import REFERENCE, slots_of_folder
from genmend.diffusion.pipeline_parts import block_layers, denoiser_of
from genmend.diffusion.search.comparison import AmplifyRun
from genmend.diffusion.search.settings import AmplifySettings
from genmend.workbench.app.context import AppContext
from genmend.workbench.app.uploads import OwnFolder
from genmend.workbench.commands.amplify import run_amplify

__all__ = ["EXAMPLE", "Amplified", "amplify", "example_settings", "is_reference", "slots_of"]

#: What the tab opens with.
EXAMPLE: dict[str, Any] = {
    "prompt": "a creative sneaker",
    "gains": {"mid": 2.0},
    "n": 16,
    "control": "high",
    "steps": 8,
}


@dataclass(frozen=True, eq=False)
class Amplified:
    """A comparison, and the files of it.

    Attributes
    ----------
    run : AmplifyRun
    settings : AmplifySettings
    gains : dict
        Slot (or layer, where it is no slot) -> gain, of what was amplified.
    folder : OwnFolder
        Of ``report.html`` and, where anything was amplified, ``amplification.safetensors``.
    """

    run: AmplifyRun
    settings: AmplifySettings
    gains: dict[str, float]
    folder: OwnFolder

    def file(self, name: str) -> Path | None:
        """The path of a file of the comparison, None where it has none of this name."""
        path = self.folder.path / name
        return path if path.is_file() else None


def is_reference(context: AppContext) -> bool:
    """Whether the pipeline is the one that comes with genmend."""
    return context.models.pipeline == "reference"


def slots_of(context: AppContext) -> tuple[str, ...]:
    """Blocks that can be amplified; the pipeline need not be loaded."""
    return slots_of_folder(REFERENCE if is_reference(context) else Path(context.models.pipeline).expanduser())


def example_settings() -> AmplifySettings:
    """What the tab opens with, as settings."""
    return AmplifySettings(
        (EXAMPLE["prompt"],),
        gains=EXAMPLE["gains"],
        n=EXAMPLE["n"],
        control=EXAMPLE["control"],
        strengths=(),
        call={"num_inference_steps": EXAMPLE["steps"]},
    )


def amplify(context: AppContext, settings: AmplifySettings, held: OwnFolder | None = None) -> Amplified:
    """Draw and compare, in a copy of the pipeline that shares its weights; images are kept for the next time.

    `held` is the folder of an uploaded file that the settings name.
    """
    model = _pipeline(context)
    folder = held or OwnFolder(context.files / "amplify")
    name = "reference" if is_reference(context) else Path(context.models.pipeline).name
    run = run_amplify(name, model, folder.path, settings, progress=False, work=context.out / "drawn")
    slots = {layer: slot for slot, layer in _block_layers(model).items()}
    gains = {slots.get(edit.layer, edit.layer): float(getattr(edit, "gain", 1.0)) for edit in run.edits}
    return Amplified(run, settings, gains, folder)


def _pipeline(context: AppContext) -> TextToImage:
    name = context.models.pipeline
    model: TextToImage = context.shared(("pipeline", name), lambda: load_text_to_image(name, device="cpu"))
    return replace(model, pipe=copy_with_shared_weights(model.pipe))


def _block_layers(model: TextToImage) -> dict[str, str]:
    denoiser = denoiser_of(model.pipe)
    return block_layers(denoiser) if hasattr(denoiser, "down_blocks") else {}
