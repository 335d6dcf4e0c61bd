"""What the page of ``genmend score`` says of copies of the training set: numbers, pictures, the likeliest pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genmend.manifold.figures.copies import copies_gallery, ratio_histogram
from genmend.workbench.pages.page import Figure, Paragraph, Table

__all__ = ["copies_blocks", "copies_in_words"]

N_NAMED = 10
# Total, its control among held-out samples, better, what it says.
_ROWS = (
    ("exact_copies", None, "0", "Query samples with the features of a training sample."),
    (
        "near_copies",
        "near_copies_expected",
        "as expected",
        "Others that are three times as near to one training sample as to any other; beside it how many are chance.",
    ),
    (
        "outstanding",
        None,
        "0",
        "Samples to which one training sample is nearer, in terms of the second nearest, than to any of the control.",
    ),
    ("outstanding_chance", None, "describes", "The probability of as many for a generator that copies nothing."),
    (
        "auth_pct",
        "auth_pct_test",
        "as held-out",
        "Percent whose nearest training sample is nearer to another one than to them (AuthPct).",
    ),
    (
        "c_t",
        None,
        "near 0",
        "Far below 0: closer to the training samples than held-out ones are. Far above: farther away (C_T).",
    ),
    ("c_t_deviation", None, "describes", "How far C_T scatters for a generator that copies nothing."),
    (
        "fld_gap",
        None,
        "near 0",
        "Far below 0: training samples are likelier than held-out ones (FLD, hundredths of a nat a feature).",
    ),
)


def copies_blocks(run: Any, images: Callable[[Any], Any]) -> list[Any]:
    """Blocks of a `genmend.workbench.commands.score.ScoreRun`, none without a training set."""
    copied = run.memorisation
    if copied is None:
        return []
    totals = copied.to_dict()
    rows = [
        [name, totals[name], totals.get(control) if control else None, better, words]
        for name, control, better, words in _ROWS
        if name in totals
    ]
    control = "the reference" if copied.n_test else "the training set itself"
    blocks: list[Any] = [
        Table(
            f"The query against {copied.n_train} training samples; control: {control}.",
            ["measure", "query", "control", "better", "what it says"],
            rows,
        )
    ]
    if run.query.kind == run.train.kind == "images" and None not in (run.query.sample, run.train.sample):
        blocks.append(Figure("The likeliest copies.", copies_gallery(copied, images(run.query), images(run.train))))
    blocks.append(Figure("How much the nearest training sample stands out.", ratio_histogram(copied)))
    pairs = [
        [
            str(run.query.names[row]),
            str(run.train.names[copied.nearest[row, 0]]),
            float(copied.distances[row, 0]),
            float(copied.ratio[row]),
        ]
        for row in copied.most_copied(N_NAMED)
    ]
    heads = ["query sample", "nearest training sample", "distance", "over the second nearest"]
    blocks.append(Table(f"The likeliest copies: the first {len(pairs)}.", heads, pairs))
    return [*blocks, Paragraph("Every sample: per_sample.npz.")]


def copies_in_words(result: dict[str, Any]) -> str:
    """A sentence of ``summary.json``, without a full stop; empty without a training set."""
    found = result.get("memorisation")
    if not found:
        return ""
    expected = found["near_copies_expected"]
    control = "" if expected is None else f", where {expected:.3g} are expected"
    return (
        f"{found['exact_copies']:.0f} query samples are exact copies of training samples and "
        f"{found['near_copies']:.0f} near copies{control}"
    )
