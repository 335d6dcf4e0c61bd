"""What the page on masks by explanations says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

NAMES = {
    "distilled-gradient": "DGA",
    "full-gradient": "FullGrad",
    "integrated-gradients": "integrated gradients",
    "grad-cam": "Grad-CAM of the score",
    "positive-interactions": "API, 16 patches",
}
_GRAD_CAM = "Grad-CAM of a classifier, published"


def masks(results: dict[str, Any]) -> str:
    """Explanations of the artifact detector as masks: where they point, and what a correction by them mends."""
    quality = {row["masks"]: row for row in results["quality"]}
    mended = {row["masks"]: row for row in results.get("correction", [])}
    return document(
        "# Does an explanation of the artifact detector say where a face is broken?",
        "**Asked**: do attributions of the label-free detector's score point at what is broken, and does a correction "
        "by defective units mend more with them as masks (`genmend correct --masks explain:dga`) than with Grad-CAM or "
        "with boxes drawn by hand?",
        f"**On**: {results['n']} samples of the face generator that both raters call clear artifacts, each with a box "
        f"drawn by hand ({percent(results['box_share'])} of the image on average). The detector has seen no label.",
        f"**Command**: `python -m experiments.concepts.masks` (seed {results['seed']}); about as many passes for DGA "
        "as for integrated gradients (12).",
        "**Controls**: the same method's maps of other samples, random blots of the same area, a centred square, the "
        "mean of the other samples' boxes; "
        "in the correction random blots of the same area, and as many random units behind the same gate.",
        "## Against the boxes",
        "Pointing game: whether the highest value lies inside. IoU: of as many of the highest pixels as boxes have on "
        "average. Mass: share of the positive attribution inside. Last column: the difference to the same method's "
        "maps of other samples, so what it tells of the sample itself. 95 % bootstrap intervals over samples.",
        table(
            ("masks", "n", "pointing game", "IoU", "mass inside", "IoU, less random", "IoU, less other samples'"),
            (
                (
                    NAMES.get(name, name),
                    row["n"],
                    estimate(*_parts(row["pointing"]), 2),
                    estimate(*_parts(row["iou"]), 2),
                    estimate(*_parts(row["mass"]), 2),
                    estimate(*_parts(row["iou_minus_random"]), 2, sign=True),
                    estimate(*_parts(row["iou_minus_others"]), 2, sign=True) if "iou_minus_others" in row else "",
                )
                for name, row in quality.items()
            ),
        ),
        picture("masks.png", "Six artifacts, and in red what each method marks"),
        *(_correction(results["share"], mended) if mended else ()),
        "## What it shows",
        _where(quality),
        *((_mends(mended),) if mended else ()),
    )


def _correction(share: float, mended: dict[str, Any]) -> tuple[str, ...]:
    return (
        "## As masks of the correction",
        f"Defective units (sequential, contrast) by masks of the {percent(share)} of the pixels that speak "
        "for the score most; units by the training folds, judged in CLIP by a judge of the training folds at 5 % false "
        "alarms. Gated: behind the gate and the stop rule of the default correction, so most clean faces stay as they "
        "are. Differences are paired; below 0 is better.",
        table(
            (
                "masks",
                "still flagged",
                "to none",
                "to random units",
                "to random masks",
                "clean: Lite0 cosine",
                "gated: still flagged",
                "gated: clean untouched",
            ),
            (
                (
                    NAMES.get(name, name),
                    estimate(*_parts(row["still_flagged"])),
                    interval(row["minus_none"][1:], 2, sign=True),
                    interval(row["minus_random_units"][1:], 2, sign=True),
                    interval(row["minus_random_masks"][1:], 2, sign=True),
                    number(row["clean_cosine"]),
                    estimate(*_parts(row["gated_still_flagged"])),
                    percent(row["gated_clean_same"]),
                )
                for name, row in mended.items()
            ),
        ),
    )


def _parts(found: list[float]) -> tuple[float, list[float]]:
    return found[0], found[1:]


def _where(quality: dict[str, Any]) -> str:
    by_iou = sorted(NAMES, key=lambda name: -quality[name]["iou"][0])
    best, square = quality[by_iou[0]], quality["control: centred square"]
    beyond = [NAMES[name] for name in by_iou if quality[name]["iou_minus_random"][1] > 0]
    own = [NAMES[name] for name in by_iou if quality[name]["iou_minus_others"][1] > 0]
    return (
        f"Beyond random blots, by IoU: {', '.join(beyond) or 'none'}. {NAMES[by_iou[0]]} is first with "
        f"{estimate(*_parts(best['iou']), 2)}, where a centred square that has not seen the image reaches "
        f"{estimate(*_parts(square['iou']), 2)}: most of what the maps tell is where faces are. Beyond their own maps "
        f"of other samples: {', '.join(own) or 'none'}."
    )


def _mends(mended: dict[str, Any]) -> str:
    tried = [name for name in mended if name not in ("uncorrected", "random units", "random masks")]
    drawn, published, dga = mended["boxes drawn by hand"], mended[_GRAD_CAM], mended["distilled-gradient"]

    def below(control: str) -> str:
        return ", ".join(NAMES.get(name, name) for name in tried if mended[name][f"minus_{control}"][2] < 0) or "none"

    return (
        f"Still flagged are {estimate(*_parts(dga['still_flagged']))} by DGA, "
        f"{estimate(*_parts(published['still_flagged']))} by the published Grad-CAM and "
        f"{estimate(*_parts(drawn['still_flagged']))} by boxes drawn by hand. Of {len(tried)} kinds of masks, fewer "
        f"than by random units: {below('random_units')}; than by random masks: {below('random_masks')}. "
        "Whatever the masks, at most one artifact in ten is mended, and better masks do not mend more: where a face is "
        "broken is not what defective units lack. The default correction mends most of them (`faces-artifacts.md`)."
    )
