"""A second judge of corrected samples: an extractor that neither the gate nor the stop rule looks through.

It looks at the images as they are generated, before they are rounded to 8 bits for a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.correctors.gated import GatedGenerator
from genmend.gans.image_features import image_batches
from genmend.manifold import Manifold
from genmend.manifold.features import extract, load_extractor
from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.storage.pieces import Work

__all__ = ["Judgement", "SecondJudge"]

N_OWN, K, N_RESAMPLES, FEWEST_NORMAL = 2_000, 5, 2_000, 50


@dataclass(frozen=True)
class Judgement:
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
        """Return JSON's view; None in place of NaN."""
        values = asdict(self) | {"gained": list(self.gained) if self.n else None}
        return {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in values.items()}


class SecondJudge:
    """Say how many corrected samples come inside the manifold of normal ones, in another extractor's features.

    Parameters
    ----------
    mend : GatedGenerator
    extractor : str
        As `load_extractor` takes it.
    seed : int
        ``seed + 2`` draws the own samples behind the judge's manifold; the correction learnt from none of them.
    facts : mapping
        What the correction depends on, for the key of what is kept.
    work : Work, optional

    Raises
    ------
    ValueError
        If the judge is the gate's own extractor.
    """

    def __init__(
        self, mend: GatedGenerator, extractor: str, *, seed: int, facts: Mapping[str, Any], work: Work | None = None
    ) -> None:
        assert mend.correction.gate is not None
        if extractor == mend.correction.gate.extractor:
            raise ValueError(
                f"--judge-extractor is {extractor!r}, which the gate looks through itself; give another extractor."
            )
        self.mend, self.extractor, self.seed = mend, extractor, seed
        self.facts = dict(facts) | {"judge": extractor}
        self._network: Callable[[Tensor], Tensor] = load_extractor(extractor)
        self._work = work or Work()

    def features(self, images: Tensor) -> NDArray[np.float32]:
        """Extract features (n, d) of images (n, 3, h, w) in 0..1."""
        return extract(self._network, images, progress=self._work.progress)

    def judge(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> Judgement:
        """Compare features (n, d) of the corrected samples before and after with those of normal own samples.

        Raises
        ------
        ValueError
            If the gate takes fewer than 50 own samples for normal.
        """
        normal = self._normal()
        if len(normal) < FEWEST_NORMAL:
            raise ValueError(
                f"The gate takes {len(normal)} of {N_OWN} own samples for normal, but a judge needs {FEWEST_NORMAL}."
            )
        if not len(before):
            return Judgement(self.extractor, 0, len(normal), np.nan, np.nan, (np.nan, np.nan), np.nan)
        manifold = Manifold(K).fit(normal)
        inside = np.stack([manifold.contains(part) for part in (before, after)], axis=1).astype(np.float64)
        change = inside[:, 1:] - inside[:, :1]
        means = resampled_means(change, N_RESAMPLES, np.random.default_rng(self.seed))
        low, high = percentile_interval(means[:, 0])
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        cosines = (before * after).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
        shares = inside.mean(axis=0)
        return Judgement(
            self.extractor,
            len(before),
            len(normal),
            float(shares[0]),
            float(shares[1]),
            (low, high),
            float(cosines.mean()),
        )

    def _normal(self) -> NDArray[np.float32]:
        """Features of the own samples that the gate takes for normal."""

        def compute() -> dict[str, NDArray[Any]]:
            generator, found = self.mend.generator, []
            own = generator.latents(N_OWN, self.seed + 2)
            for images in image_batches(generator, own, "samples for the judge", self._work.progress):
                passing = torch.from_numpy(self.mend.passes_gate(images))
                if passing.any():
                    found.append(extract(self._network, images[passing]))
            return {"features": np.concatenate(found) if found else np.zeros((0, 0), np.float32)}

        facts = self.facts | {"n": N_OWN, "seed": self.seed}
        features: NDArray[np.float32] = self._work.kept("judge", facts, compute)["features"]
        return features
