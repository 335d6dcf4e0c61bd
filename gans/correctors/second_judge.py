"""A second judge for ``genmend correct``: an extractor that neither the gate nor the stop rule looks through."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.gans.correctors.gated import CorrectedGenerator
from genmend.manifold import Manifold
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.storage.digests import settings_key
from genmend.storage.pieces import checkpointed
from genmend.workbench.pages.pictures import read_images

__all__ = ["Judged", "judged"]

N_OWN, K, N_RESAMPLES = 2_000, 5, 2_000


@dataclass(frozen=True)
class Judged:
    """What the judge says of the corrected samples; shares in [0, 1].

    Attributes
    ----------
    extractor : str
    n : int
        Corrected samples.
    n_normal : int
        Own samples that the gate takes for normal: the judge's manifold is that of their features, k = 5.
    inside_before, inside_after : float
        Share of the corrected samples inside it; NaN where none was corrected.
    gained : (float, float)
        95 % interval of after - before, by a bootstrap over the samples.
    cosine : float
        Mean cosine of a corrected sample's features before and after: 1 is the same picture.
    """

    extractor: str
    n: int
    n_normal: int
    inside_before: float
    inside_after: float
    gained: tuple[float, float]
    cosine: float

    def to_dict(self) -> dict[str, Any]:
        """JSON's view; None in place of NaN."""
        values = asdict(self) | {"gained": list(self.gained) if self.n else None}
        return {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in values.items()}


def judged(
    mend: CorrectedGenerator,
    out: Path,
    rows: NDArray[np.int64],
    extractor: str,
    about: dict[str, Any],
    *,
    seed: int,
    resume: bool,
    progress: bool,
) -> Judged:
    """Look at the pictures that were written, before and after, of the corrected `rows`.

    Parameters
    ----------
    about
        What the correction depends on, for the key of the kept features.
    seed
        Of the own samples; they are none of those that the correction learnt from.

    Raises
    ------
    ValueError
        If the judge is the gate's own extractor, or fewer than 50 own samples are normal.
    """
    assert mend.correction.gate is not None
    if extractor == mend.correction.gate.extractor:
        raise ValueError(f"--judge is {extractor!r}, which the gate looks through itself; give another extractor.")
    network = load_extractor(extractor)
    key = settings_key(about | {"judge": extractor, "n": N_OWN, "seed": seed})

    def compute() -> dict[str, NDArray[Any]]:
        images = mend.generator.sample(N_OWN, seed + 2, progress=progress)
        return {"features": extract(network, images[torch.from_numpy(mend.passes_gate(images))], progress=progress)}

    normal = checkpointed(out / "work", f"judge-{key}", resume, compute)["features"]
    if len(normal) < 50:
        raise ValueError(f"The gate takes {len(normal)} of {N_OWN} own samples for normal, but a judge needs 50.")
    if not len(rows):
        return Judged(extractor, 0, len(normal), np.nan, np.nan, (np.nan, np.nan), np.nan)
    before, after = (extract(network, read_images(out / name, rows), progress=progress) for name in ("before", "after"))
    manifold = Manifold(K).fit(normal)
    inside = np.stack([manifold.contains(features) for features in (before, after)], axis=1).astype(np.float64)
    change = inside[:, 1:] - inside[:, :1]
    low, high = percentile_interval(resampled_means(change, N_RESAMPLES, np.random.default_rng(seed))[:, 0])
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines = (before * after).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    shares = inside.mean(axis=0)
    return Judged(
        extractor, len(rows), len(normal), float(shares[0]), float(shares[1]), (low, high), float(cosines.mean())
    )
