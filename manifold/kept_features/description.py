"""What a file of features says of itself, for its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from genmend.manifold.features.extractors.loading import AUDIO_EXTRACTORS, EXTRACTORS
from genmend.manifold.features.extractors.published_tables import published_tables
from genmend.storage.hub.kinds import Description

__all__ = ["describe_features"]

_OF_PIPELINE = ("weights", "layer", "resize", "antialias", "normalisation", "versions")


def describe_features(facts: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Description:
    """Say what the file of a reference holds, of its facts and the shapes of its arrays alone."""
    pipeline = facts["pipeline"]
    extractor = pipeline.get("extractor")
    n, d = shapes["features"]
    most_k = shapes["radii"][1]
    drawn = facts["drawn"]
    does = {
        "source set": PurePath(facts["source"].replace("\\", "/")).name or None,
        "samples": f"{n} of {drawn['n_given']}, drawn with seed {drawn['seed']}" if drawn else n,
        "left out as unusable": len(facts["skipped"]) or None,
        "features of each": d,
        "radii of k": f"1 to {most_k}",
        "published tables it can stand beside": published_tables(extractor) or None,
    }
    model = {"features of": {"images": "images", "audio": "recordings"}.get(facts["kind"], "features that were given")}
    if extractor:
        model |= {"extractor": extractor, "digest of the pipeline": facts["pipeline_digest"]}
        model |= {name: pipeline[name] for name in _OF_PIPELINE if pipeline.get(name) not in (None, "", {})}
    ours = extractor if extractor in (*EXTRACTORS, *AUDIO_EXTRACTORS) else None
    query = f'features_of("samples/", "{ours}")' if ours else 'features_of("samples/", extractor)'
    return Description(
        title=f"Reference of {n} samples" + (f" in the features of {extractor}" if extractor else ""),
        what="Features of a set of real samples, with the radii of their balls: what generated samples are scored "
        "against by `genmend score` or `evaluate`. The samples' names are in the file, the samples are not.",
        model=model,
        does={name: value for name, value in does.items() if value is not None},
        use="from genmend.manifold import evaluate\n"
        "from genmend.manifold.features import FeatureSet, features_of\n\n"
        'reference = FeatureSet.from_pretrained("{source}")\n'
        f"scores = evaluate(reference, {query})",
        not_told=[
            "What the samples are, and who may use them: the features were made of them.",
            *([] if extractor else ["Which extractor made the features: it judges features of the same one alone."]),
        ],
    )
