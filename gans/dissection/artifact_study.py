"""Units that break images: how far from own-normal samples those lie that excite a unit most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.gans.detection.detect import fit_detector
from genmend.gans.dissection.artifact_units import top_images, unit_frechet, unit_kid
from genmend.gans.dissection.measuring import unit_peaks
from genmend.gans.dissection.stages import Arrays, Stages
from genmend.gans.image_features import image_features
from genmend.gans.settings import DetectorSettings, DissectSettings
from genmend.manifold.features import load_extractor
from genmend.storage.progress import with_progress

__all__ = ["N_FRECHET", "ArtifactUnits", "artifact_units"]

CHUNK = 256

TOP_SHARE = 10  # a unit's top images are one in so many

N_FRECHET = 5  # units a layer whose Fréchet distance is computed: it takes seconds each


@dataclass(frozen=True)
class ArtifactUnits:
    """Units of some layers by the images that excite them.

    Attributes
    ----------
    extractor : str
    n_pool, n_top : int
        Samples looked at, and how many of them count as a unit's top images.
    kid : dict layer -> ndarray (u,)
        Kernel distance of the top images to own-normal samples (`unit_kid`); higher is further off.
    frechet : dict layer -> dict unit -> float
        Fréchet distance for the units of highest `kid`; empty where the extra ``metrics`` is missing.
    samples : dict layer -> ndarray (u, k)
        Each unit's first few top images, indices into the pool.
    """

    extractor: str
    n_pool: int
    n_top: int
    kid: dict[str, NDArray[np.float64]]
    frechet: dict[str, dict[int, float]]
    samples: dict[str, NDArray[np.int64]]

    def worst(self, n: int) -> list[tuple[str, int]]:
        """The n units of all layers that are furthest off, the furthest first."""
        pairs = [(-value, layer, unit) for layer, values in self.kid.items() for unit, value in enumerate(values)]
        return [(layer, unit) for _, layer, unit in sorted(pairs)[:n]]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view: the ten worst units of each layer."""
        layers = {}
        for layer, values in self.kid.items():
            worst = np.argsort(-values, kind="stable")[:10].tolist()
            layers[layer] = {
                "median": float(np.median(values)),
                "worst": [
                    {"unit": unit, "kid": float(values[unit]), "frechet": self.frechet[layer].get(unit)}
                    for unit in worst
                ],
            }
        return {"extractor": self.extractor, "n_pool": self.n_pool, "n_top": self.n_top, "layers": layers}


def artifact_units(stages: Stages, settings: DissectSettings) -> ArtifactUnits:
    """Rank the units of all layers on `n_images` samples of the seed; each piece is kept as it is done.

    Normal is what `fit_detector` has for a reference: `n_images` of the generator's own samples without those
    that it flags, by rates of `n_statistics` of them. So distances are relative to these, not to photographs.
    """
    extractor, n, n_top_shown = settings.artifact_units, settings.n_images, settings.n_top
    wanted = DetectorSettings(extractor, n_statistics=settings.n_statistics, n_reference=max(10, n))
    detector = fit_detector(stages.generator, wanted, stages.work)
    n_top = max(2, n // TOP_SHARE)

    def compute() -> Arrays:
        features, peaks = _pool(stages, extractor, n)
        arrays: Arrays = {}
        for layer, values in peaks.items():
            kid = unit_kid(values, features, detector.manifold_.reference_, n_top=n_top)
            worst = np.argsort(-kid, kind="stable")[:N_FRECHET]
            arrays |= {
                f"{layer}.kid": kid,
                f"{layer}.worst": worst,
                f"{layer}.frechet": _frechet(values, features, detector.manifold_.reference_, worst, n_top),
                f"{layer}.samples": top_images(values, min(n_top, n_top_shown)).T.astype(np.int64),
            }
        return arrays

    about = {"extractor": extractor, "n": n, "n_statistics": settings.n_statistics, "shown": n_top_shown}
    arrays = stages.kept("artifact-units", about, compute)
    return ArtifactUnits(
        extractor,
        n,
        n_top,
        {layer: arrays[f"{layer}.kid"] for layer in stages.layers},
        {
            layer: {
                int(unit): float(value)
                for unit, value in zip(arrays[f"{layer}.worst"], arrays[f"{layer}.frechet"], strict=True)
                if np.isfinite(value)
            }
            for layer in stages.layers
        },
        {layer: arrays[f"{layer}.samples"] for layer in stages.layers},
    )


def _pool(stages: Stages, extractor: str, n: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Features of the samples (n, d), and the units' peaks in them by layer (n, u)."""
    network = load_extractor(extractor)
    parts = []
    starts = range(0, n, CHUNK)
    for start in with_progress(starts, "units far from normal", len(starts), show=stages.work.progress):
        size = min(CHUNK, n - start)

        def compute(start: int = start, size: int = size) -> Arrays:
            latents = stages.generator.latents(size, stages.seed, start)
            peaks = unit_peaks(stages.generator, latents, stages.layers)
            features = image_features(stages.generator, latents, network)
            return {"features": features} | {layer: values.numpy() for layer, values in peaks.items()}

        parts.append(stages.kept("pool", {"extractor": extractor, "start": start, "n": size}, compute))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return joined.pop("features"), joined


def _frechet(
    peaks: NDArray[Any], features: NDArray[Any], reference: NDArray[Any], units: NDArray[np.int64], n_top: int
) -> NDArray[np.float64]:
    """`unit_frechet`, or NaN where no package computes it."""
    try:
        return unit_frechet(peaks, features, reference, units.tolist(), n_top=n_top)
    except ModuleNotFoundError:
        return np.full(len(units), np.nan)
