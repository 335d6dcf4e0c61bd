"""What the pages on detection and correction of faces and eyes say; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

NORMAL = "Normal is relative to the model's own normal samples, not to photographs."
LITE, CLIP = "efficientnet-lite0", "clip-vit-b16"
DIRECTION_1 = "Correction steered in efficientnet-lite0-layers, judged in clip-vit-b16"
DIRECTION_2 = "Correction steered in clip-vit-b16, judged in efficientnet-lite0"
PUBLISHED = "rare R=0.2 main.2+5+8"


def artifacts(results: dict[str, Any]) -> str:
    """Detection and correction of labelled artifacts."""
    first, second = (_by_method(results[title]["table"]) for title in (DIRECTION_1, DIRECTION_2))
    own, wide, gated = first["ours, ungated"], first["ours, gated at 0.95"], first["ours, gated at 0.98"]
    detected = {row["detector"]: row for row in results["detection"]}
    combined = detected[f"combined: rare + distance, {LITE}"]
    return document(
        "# Finding and mending the broken faces of a GAN",
        "**Asked**: does genmend find the broken samples of a real face generator, with and without labels, and does "
        "its correction mend them better than the published ones do?",
        "**On**: the 64x64 face generator of the package `gan-face-generate` and 700 of its samples, labelled by two "
        f"raters (`experiments/data/face_artifacts`). Consensus: clear artifacts for both against normal for both. "
        f"Full: the raters' sum at least 3 against the rest. {NORMAL}",
        "**Command**: `python -m experiments.faces.artifacts --directions 1 2 --float32` (seed 0; CLIP ran "
        f"{results[DIRECTION_1]['clip']} in the first table of correction, {results[DIRECTION_2]['clip']} in the "
        "second and in the table of detection).",
        "**Controls**: as many random neurons or units as each method switches off; the same latents truncated; every "
        "method judged in a feature space that did not steer it, by a judge trained on other folds at 5 % false "
        "alarms.",
        "## Detection",
        "AUROC with 95 % bootstrap intervals over samples.",
        table(
            ("detector", "labels", "consensus", "full"),
            (
                (
                    row["detector"],
                    row["labels"],
                    estimate(row["consensus"], row["consensus_interval"]),
                    estimate(row["full"], row["full_interval"]),
                )
                for row in results["detection"]
            ),
        ),
        f"Without labels, rare activation and the distance to normal together reach {number(combined['consensus'])}. "
        f"Distance in CLIP alone does not tell broken faces: "
        f"{number(detected[f'distance to normal, {CLIP}']['consensus'])}.",
        "## Correction, steered in layers of EfficientNet-Lite0, judged in CLIP",
        "Still flagged: share of the consensus artifacts that the judge flags after the correction. Change is measured "
        "on the consensus normals, with every sample corrected unless the gate is named. Last two columns: 95 % "
        "intervals of the paired difference to no correction, and to the published recipe "
        f"`{PUBLISHED}`; below 0 is better.",
        _correction_table(results[DIRECTION_1]["table"]),
        picture(
            "trade_off_efficientnet-lite0-layers_judged_by_clip-vit-b16.png",
            "Still flagged against change of clean samples, every method, steered in Lite0",
        ),
        "## Correction the other way round, steered in CLIP, judged in EfficientNet-Lite0",
        _correction_table(results[DIRECTION_2]["table"]),
        picture(
            "trade_off_clip-vit-b16_judged_by_efficientnet-lite0.png",
            "Still flagged against change of clean samples, every method, steered in CLIP",
        ),
        picture("corrected.png", "Artifacts of one held-out fifth, before (above) and after the gated ladder (below)"),
        "## What it shows",
        f"The ladder without its gate leaves {_flagged(own)} of the artifacts flagged, and "
        f"{_flagged(second['ours, ungated'])} the other way round; the published recipe leaves "
        f"{_flagged(first[PUBLISHED])} and {_flagged(second[PUBLISHED])}, the ladder on random neurons "
        f"{_flagged(first['random neurons, ungated'])} and {_flagged(second['random neurons, ungated'])}. The paired "
        f"difference to the published recipe is {interval(own['minus_published'], 2, sign=True)} without the gate and "
        f"{interval(gated['minus_published'], 2, sign=True)} with the one at 0.98.",
        "What falls short:",
        f"* The gate lets {percent(1 - wide['artifacts_changed'])} (at 0.95) to "
        f"{percent(1 - gated['artifacts_changed'])} (at 0.98) of the artifacts "
        f"pass, so the gated share is {number(wide['still_flagged'])} to {number(gated['still_flagged'])}, not that "
        f"of the ladder alone.\n"
        f"* Mended samples are more alike: they keep {number(own['diversity'][CLIP], 2)} of the artifacts' mean "
        f"pairwise distance in CLIP and {number(own['diversity'][LITE], 2)} in Lite0 features "
        f"({number(second['ours, ungated']['diversity'][LITE], 2)} steered in CLIP), where clean samples "
        f"have {number(own['normal_spread'][LITE], 2)} of it.\n"
        "* Scores of defective units and of local activation, as we read the papers, mend no more here than random "
        "units do.\n"
        "* Gains found by gradient satisfy the features they are steered by and leave the face broken in the eyes of "
        "another network; the ladder, whose direction comes from many samples, stays the default.\n"
        "* The form and the steps of the ladder were settled by looking at these labels; gate, neurons and judge come "
        "from each fold's training folds.",
    )


def defects(results: dict[str, Any]) -> str:
    """Masks of what is broken, and local activation."""
    masks, chosen = results["masks"], results["chosen_estimator"]
    all_boxes = max(row["n"] for row in masks)
    on_all = {row["mask"]: row for row in masks if row["n"] == all_boxes}
    square, grad_cam = on_all["control: centred square of the mean area"], on_all["grad-cam"]
    controls = [row for row in results["local_activation"] if row["kind"] == "control"]
    return document(
        "# Where a face is broken, and whether local activation says so",
        "**Asked**: do attribution masks find the broken part of a face, and do the published estimators of local "
        "activation find broken samples?",
        "**On**: the labelled faces; one half of the labels chooses and trains, the other is reported.",
        f"**Command**: `python -m experiments.faces.defects` (seed {results['seed']}).",
        "**Controls**: masks that have not seen the image (a centred square, the mean of the other half's boxes, "
        "random pixels, everything); rare activation in the same layers, and the distance from the latent mean.",
        "## Masks, against boxes drawn by hand",
        "IoU and pointing game, higher is better; slow methods on the first boxes only.",
        table(
            ("mask", "IoU", "pointing game", "boxes"),
            ((row["mask"], number(row["iou"]), number(row["pointing_game"]), row["n"]) for row in masks),
        ),
        "## Local activation, AUROC on the reported half",
        table(
            ("score", "layer", "consensus", "full"),
            (
                (
                    row["score"] + ("" if row["kind"] == "control" else " (chosen on the other half)"),
                    row["layer"],
                    number(row["report_consensus"]),
                    number(row["report_full"]),
                )
                for row in (chosen, *controls)
            ),
        ),
        "## What it shows",
        f"Neither is good enough here. Grad-CAM reaches IoU {number(grad_cam['iou'])} with boxes drawn by hand where a "
        f"centred square reaches {number(square['iou'])}; the best estimator of local activation reaches an AUROC of "
        f"{number(chosen['report_consensus'])} where rare activation reaches "
        f"{number(controls[0]['report_consensus'])}.",
    )


def eyes(results: dict[str, Any]) -> str:
    """Where most samples are broken: without labels it fails, and is warned of; labels or normal images serve."""
    rated, auroc, trust = results["rated"], results["auroc"], results["trust"]
    old, *mended = results["rated_corrected"].items()
    labels, trained, flagged = results["labels"], results["trained"], results["flagged"]
    by_normal = next(value for name, value in auroc.items() if name.startswith("normal images"))
    by_labels, failed = auroc["labels, 200 others"], auroc["the old default"]
    others = [name for name in trust if not name.startswith("eyes")]
    return document(
        "# Painted eyes: where most samples are broken",
        "**Asked**: what does detection without labels do on a generator most of whose samples are blurred, does it "
        "notice, and do normal images or labels serve?",
        "**On**: the eye generator, 600 samples, of which 80 were rated (`eye_ratings.csv`): the 40 highest by the old "
        f"default score and 40 random others. Of {labels['n']} other samples (`eye_labels.csv`) "
        f"{labels['normal']} were rated normal and {labels['broken']} broken. All ratings are by a model, blind, once "
        "(`experiments/data/`).",
        "**Command**: `python -m experiments.faces.eyes`, twice: the first run draws the sheets that are rated.",
        "**Control**: labels shuffled; random samples in place of normal images; for corrections the same ladder on "
        "random neurons.",
        table(
            ("score", "AUROC for rated broken, 95 %"),
            ((name, estimate(value[0], value[1:], 2)) for name, value in auroc.items()),
        ),
        f"`train-detector` itself, by cross-validation on the {labels['n']}: AUROC "
        f"{estimate(trained['auroc'], trained['interval'], 3)}.",
        table(
            ("flagged, of the 80", "rated broken", "not broken"),
            (
                (name, percent(flagged[name]["broken"]), percent(flagged[name]["not broken"]))
                for name in ("normal images", "labels")
            ),
        ),
        "## Does it notice?",
        table(
            ("generator", "sharper: AUROC", "correlation", "warned", "warned of parts of 300", "warned by chance"),
            (
                (
                    name,
                    number(one["sharper"], 2),
                    number(one["correlation"], 2),
                    "yes" if one["doubted"] else "no",
                    percent(one["parts_doubted"]) if "parts_doubted" in one else "",
                    f"{one['doubted_by_chance']} of 2,000" if "doubted_by_chance" in one else "",
                )
                for name, one in trust.items()
            ),
        ),
        "Sharper: AUROC of fine detail for the tenth scored most broken (0.5: as sharp as the rest). Correlation: of "
        "score and detail at equal contrast among the 80 % scored least broken. It warns where these reach 0.75 and "
        "0.35. By chance: detail drawn anew for the same scores.",
        "## Corrections",
        table(
            (
                "correction of samples rated broken",
                "changed",
                "given up",
                "rated broken after, 95 %",
                "of the changed: before",
                "after",
            ),
            (
                (
                    name,
                    f"{results['corrected'][name]['changed']} of {results['corrected'][name]['n']}",
                    results["corrected"][name]["given_up"],
                    estimate(one["after"][0], one["after"][1:], 2),
                    number(one["changed_before"], 2),
                    number(one["changed_after"], 2),
                )
                for name, one in mended
            ),
        ),
        f"Before, {number(mended[0][1]['before'], 2) if mended else 'none'} of them were rated broken in the same "
        f"sitting. By the old default, of {old[1]['n']} that it flagged: {number(old[1]['before'], 2)} before, "
        f"{number(old[1]['ours'], 2)} after, random neurons {number(old[1]['random'], 2)}.",
        picture("highest_scored.png", "By default, scored highest: the sharp, painted eyes"),
        picture("highest_by_labels.png", "With labels, scored highest"),
        picture("lowest_scored.png", "By default, scored lowest, the most normal: blurred"),
        picture("corrected.png", "Before; corrected with labels; with normal images; on random neurons"),
        "## What it shows",
        f"Without labels the old default **fails**: of the 40 it scored highest {percent(rated['highest'][0])} were "
        f"rated broken, of the others {percent(rated['others'][0])}, AUROC {estimate(failed[0], failed[1:], 2)}. It "
        f"now says so: the check warns of the eyes, in {percent(trust['eyes']['parts_doubted'])} of its parts, and of "
        f"none of {' and '.join(others)}. With normal images the AUROC is {estimate(by_normal[0], by_normal[1:], 2)}, "
        f"with labels {estimate(by_labels[0], by_labels[1:], 2)}, on samples that neither had seen. "
        f"{_eyes_mended(mended)}",
    )


def _eyes_mended(mended: list[tuple[str, dict[str, Any]]]) -> str:
    """Whether a correction is rated better than it was, and better than its control."""
    if not mended:
        return "Corrections were not rated yet."
    shares = {name: one["after"] for name, one in mended}
    before, control = mended[0][1]["before"], shares.pop("random neurons")[0]
    change = {name: one["difference"] for name, one in mended}
    better = [name for name in shares if change[name][2] < 0 and shares[name][0] < control]
    figures = ", ".join(
        f"with {name} {number(share[0], 2)} (difference {estimate(change[name][0], change[name][1:], 2)})"
        for name, share in shares.items()
    )
    verdict = f"mends with {' and with '.join(better)}" if better else "does **not** mend"
    return (
        f"Correction {verdict}: rated broken {number(before, 2)} before, {figures}, random neurons "
        f"{number(control, 2)} after. Most are given up or left alone."
    )


def scores(results: dict[str, Any]) -> str:
    """Precision and recall before and after the correction."""
    names = {"own_normal_again": "more own normal (control)", "before": "before", "after": "after"}
    metrics = (("precision", "3"), ("recall", "3"), ("density", "5"), ("coverage", "5"), ("clipped_density", "5"),
               ("clipped_coverage", "5"), ("rarity_percentile_mean", "3"))  # fmt: skip
    extractors = (LITE, "mobilenet-v2")

    def cell(extractor: str, name: str, metric: str, k: str) -> str:
        row = results[extractor][name]
        return estimate(row["k"][k][metric], row["intervals"][k][metric])

    def precision(extractor: str, name: str, metric: str = "precision") -> str:
        return number(results[extractor][name]["k"]["3"][metric])

    def moved(metric: str) -> str:
        said = [
            f"from {precision(e, 'before', metric)} to {precision(e, 'after', metric)} in {e} "
            f"(control: {precision(e, 'own_normal_again', metric)})"
            for e in extractors
        ]
        return " and ".join(said)

    count = results["samples"]
    return document(
        "# The corrected faces, scored as a whole",
        "**Asked**: what does the gated correction do to precision and recall of the whole set?",
        f"**On**: {count['n']} samples of the face generator, {count['n_changed']} of them changed by the correction, "
        f"{count['n_given_up']} given up, against as many own normal ones. The numbers are {results['about']}.",
        "**Command**: `python -m experiments.faces.scores`.",
        f"**Control**: {count['n']} more own normal samples. The correction is steered by EfficientNet-Lite0; "
        "MobileNetV2 had no part in it.",
        *(
            part
            for extractor in extractors
            for part in (
                f"## In {extractor}",
                table(
                    ("metric", "k", *names.values()),
                    (
                        (metric.replace("_", " "), k, *(cell(extractor, name, metric, k) for name in names))
                        for metric, k in metrics
                    ),
                ),
            )
        ),
        "## What it shows",
        f"Precision rises {moved('precision')}. Recall falls {moved('recall')}. So the mended set is more normal and "
        "less varied than the model's own normal samples.",
    )


def _by_method(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in rows}


def _flagged(row: dict[str, Any]) -> str:
    return estimate(row["still_flagged"], row["still_flagged_interval"], 2)


def _correction_table(rows: list[dict[str, Any]]) -> str:
    return table(
        ("method", "still flagged", "clean: Lite0 cosine", "clean untouched", "to no correction", "to the published"),
        (
            (
                row["method"],
                estimate(row["still_flagged"], row["still_flagged_interval"]),
                number(row["clean_cosine"][LITE]),
                percent(row["clean_identical"]),
                interval(row["minus_uncorrected"], 2, sign=True),
                interval(row["minus_published"], 2, sign=True),
            )
            for row in rows
        ),
    )


PAGES: tuple[Callable[[Any], str], ...] = (artifacts, defects, eyes, scores)
