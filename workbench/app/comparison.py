"""Several sets of samples against one reference, each scored as ``genmend score`` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from genmend.storage.progress import tell
from genmend.storage.weights import fetch_weights
from genmend.workbench.app.uploads import OwnFolder
from genmend.workbench.commands.score import ScoreRun, compute_score, write_score
from genmend.workbench.commands.score_settings import ScoreSettings

__all__ = ["Comparison", "add_set", "example_comparison", "report_of"]

N_EXAMPLE = 150
# What becomes of a latent of the face generator, and how the set is called.
EXAMPLES = (
    ("same generator, other seeds", 1.0),
    ("latents at half their length", 0.5),
    ("latents at twice their length", 2.0),
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Sets of samples against one reference.

    Attributes
    ----------
    reference : Path
    reference_name : str
    runs : dict of str to ScoreRun
        By the name of the set.
    folders : dict of str to Path
        Where each run's files go once they are asked for.
    held : tuple of OwnFolder
        Folders that have to last as long as this.
    about : str
        What the sets are, where they are an example.
    """

    reference: Path
    reference_name: str
    runs: dict[str, ScoreRun] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    held: tuple[OwnFolder, ...] = ()
    about: str = ""

    @property
    def k(self) -> int:
        """Neighbours of what is shown: the fewest that were computed."""
        return min(min(run.settings.k) for run in self.runs.values())


def add_set(
    comparison: Comparison,
    name: str,
    query: Path,
    out: Path,
    settings: ScoreSettings,
    held: Sequence[OwnFolder] = (),
) -> Comparison:
    """Score one more set against the reference; the name is numbered where it is taken."""
    number, free = 2, name
    while free in comparison.runs:
        number, free = number + 1, f"{name} ({number})"
    run = compute_score(comparison.reference, query, settings=settings, progress=False)
    return replace(
        comparison,
        runs={**comparison.runs, free: run},
        folders={**comparison.folders, free: out},
        held=(*comparison.held, *held),
    )


def report_of(comparison: Comparison, name: str) -> Path:
    """The report of a set, as ``genmend score`` writes it."""
    path = comparison.folders[name] / "report.html"
    if not path.is_file():
        write_score(path.parent, comparison.runs[name])
    return path


def example_comparison(out: Path) -> Comparison:
    """The embedded face generator against itself, with latents as they should be, too short, and too long."""
    for weights in ("faces", "efficientnet-lite0"):
        tell(f"getting the weights of {weights}", 0, 1)
        fetch_weights(weights)
        tell(f"getting the weights of {weights}", 1, 1)
    out = out / f"of-{N_EXAMPLE}"  # a folder that has other images too is another set
    reference = _drawn(out / "reference", 0, 1.0)
    found = Comparison(
        reference,
        "faces",
        about=f"An example: {N_EXAMPLE} faces of the embedded generator are the reference; three other sets of "
        f"{N_EXAMPLE} are scored against it. They are relative to the model's own samples, not to photographs.",
    )
    for seed, (name, length) in enumerate(EXAMPLES, start=1):
        query = _drawn(out / f"set-{seed}", seed, length)
        found = add_set(found, name, query, out / f"score-{seed}", ScoreSettings())
    return found


def _drawn(folder: Path, seed: int, length: float) -> Path:
    """A folder of images of the face generator, written where it is not there yet."""
    from genmend.gans import load_generator
    from genmend.workbench.pages.pictures import write_images

    names = [f"{number:03}.png" for number in range(N_EXAMPLE)]
    if not all((folder / name).is_file() for name in names):
        generator: Any = load_generator("faces")
        latents = torch.randn(N_EXAMPLE, *generator.latent_shape, generator=torch.Generator().manual_seed(seed))
        folder.mkdir(parents=True, exist_ok=True)
        write_images(folder, names, generator, length * latents)
    return folder
