"""What the pages of the garment experiments say; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

_ABOUT = (
    "the reference pipeline of `genmend.diffusion.reference`, a text-to-image model of 32x32 garments trained on one "
    "CPU core (`make reference`)"
)
KEPT_USABLE, KEPT_INSIDE = 0.95, 0.9  # of the plain shares, as a search keeps them


def creativity(results: dict[str, Any]) -> str:
    """Which way to draw makes more keepers than drawing more seeds."""
    rows, settings = results["rows"], results["settings"]
    plain, real, broken = rows["plain"], rows["held-out real garments"], rows["control: broken on purpose"]
    ways = {name: row for name, row in rows.items() if "about" in row}
    whole = [name for name, row in ways.items() if _is_whole(row, plain)]
    better = [name for name, row in ways.items() if row["more_keepers"][1] > 0]
    trivial = {name: row for name, row in rows.items() if name.startswith("control: ") and "broken" not in name}
    trivial_better = [name for name, row in trivial.items() if row["more_keepers"][1] > 0]
    amplified = [name for name in ways if name.startswith(("ours", "published", "Turbo", "middle"))]
    ends = sorted(row["more_keepers"][0] for row in trivial.values())
    most = max(ways, key=lambda name: ways[name]["keepers"][0])
    choice, report = settings["seeds"]["choice"], settings["seeds"]["report"]
    return document(
        "# Does amplification make a pipeline more creative than more seeds do?",
        "**Asked**: which way to draw makes more pictures that are usable, real and new, at equal cost?",
        f"**On**: {_ABOUT}; {len(settings['prompts'])} prompts. Gains are chosen by keepers on seeds "
        f"{choice[0]}-{choice[1]}, usability by the guide network; all is reported on seeds {report[0]}-{report[1]}, "
        "by the judge. FreeU, CADS, boosted noise and the middle block are not chosen.",
        "**Command**: `python -m experiments.garments.creativity`. A second part, on a world in which new and broken "
        "are known exactly, is in `experiments/objects`.",
        "**Keepers**: usable (the garment's probability is 0.5), inside the manifold of real garments in two spaces, "
        "and newer than 95 % of the plain samples of the prompt, in [a space in which trivial changes are not "
        "new](garments-novelty_spaces.md); of 100 pictures, with 95 % intervals. The cost is a picture, so *more "
        "seeds* is the row of plain ones. **Minus plain**: a control of the same seeds, pair by pair; anything else of "
        f"all {plain['n']} plain ones. **Second space**: keepers by distances in another network's space. **Newest of "
        "8**: the novelty of the newest usable and real one, 1 being that of a keeper. **Different**: Vendi score of "
        "all keepers of the row. **Pays after**: pictures until the gain has made up for those that the choice cost. "
        f"**Whole**: at least {KEPT_USABLE:g} of the plain share of usable ones, and {KEPT_INSIDE:g} of that inside.",
        "**Controls**: more plain seeds; trivial changes of the plain pictures, each as strong as keeps "
        f"{settings['matched']:g} of the guide's probability; pictures broken on purpose; real garments, held out.",
        table(
            ("", "chosen", "usable", "inside", "whole", "keepers of 100", "minus plain", "second space, minus plain",
             "newest of 8", "different", "prompts that gain, lose", "pays after"),
            (
                (
                    name,
                    row.get("about", ""),
                    number(row["usable"], 2),
                    number(row["inside"], 2),
                    "yes" if _is_whole(row, plain) else "no",
                    estimate(row["keepers"][0], row["keepers"][1:], 1),
                    estimate(row["more_keepers"][0], row["more_keepers"][1:], 1, sign=True),
                    estimate(
                        row["more_keepers_in_the_second_space"][0], row["more_keepers_in_the_second_space"][1:], 1,
                        sign=True,
                    ),
                    number(row["newest_of_8"], 2),
                    number(row["different_keepers"], 1),
                    f"{row['prompts_that_gain']}, {row['prompts_that_lose']}",
                    _pays_after(row, plain),
                )
                for name, row in rows.items()
            ),
        ),
        picture("pairs.png", "Rows in the order of the table down to boosted noise; two seeds of each prompt"),
        picture("keepers.png", "Keepers, at most 16: plain, ours, CADS, real garments"),
        "## What it shows",
        f"Trivial changes make no keepers: {number(ends[0], 1, sign=True)} to {number(ends[-1], 1, sign=True)} of 100, "
        f"with confidence above 0: {_named(trivial_better)}; real garments, held out, have "
        f"{number(real['keepers'][0], 1)}.",
        f"**But breaking makes them**: of plain pictures broken on purpose {number(broken['keepers'][0], 1)} of 100 "
        f"are taken for keepers. {most} has {number(ways[most]['keepers'][0], 1)} where "
        f"{number(ways[most]['inside'], 2)} are inside, plain {number(plain['inside'], 2)}; its pictures, and those of "
        "ours, are torn or faded, as the rows above show. So only ways that leave pictures whole can be compared by "
        f"their keepers: {_named(whole)}.",
        "**How far to trust this**: that rule (0.95 of the plain usable, 0.9 of the inside) and the pooling of all "
        "plain seeds were settled after a first look, in which CADS and FreeU had more keepers than plain seeds "
        "alone; the middle block x 3 has more still and falls out by the rule. At this size it is not shown that "
        "something helps, nor that nothing does.",
        (
            f"**Of these, more keepers than more seeds give, with confidence: {_named(set(better) & set(whole))}.** "
            if set(better) & set(whole)
            else "**None of these has more keepers than more seeds give, with confidence.** "
        )
        + f"Low-frequency amplification among them: {_named(set(better) & set(whole) & set(amplified))}. The mild "
        f"gains of the published search, shrunk, have {_minus(ways['published search, shrunk'])}; the stronger ones "
        f"break. The band does not matter: the gains of ours have {_minus(ways['ours: joint search'])} in the low one, "
        f"{_minus(ways['the same in the full band'])} in the full and {_minus(ways['the same in the random band'])} in "
        "a random one.",
        "So `genmend amplify --search` searches for keepers only among gains that keep the usability and the share "
        "inside, and takes none where more seeds give as many; and what it amplifies on this model where nothing is "
        "said are the mild gains.",
    )  # fmt: skip


def _is_whole(row: Any, plain: Any) -> bool:
    return row["usable"] >= KEPT_USABLE * plain["usable"] and row["inside"] >= KEPT_INSIDE * plain["inside"]


def _minus(row: Any) -> str:
    return estimate(row["more_keepers"][0], row["more_keepers"][1:], 1, sign=True)


def _named(names: Iterable[str]) -> str:
    return "; ".join(name.removeprefix("control: ") for name in sorted(names)) or "none"


def _pays_after(row: Any, plain: Any) -> str:
    """Pictures until the gain over the plain ones has made up for what the choice cost; "never" without a gain."""
    if "n_drawn" not in row:
        return ""
    gain = row["more_keepers"][0]
    return f"{row['n_drawn'] * plain['keepers'][0] / gain:.0f}" if row["more_keepers"][1] > 0 else "never"


def samples(results: dict[str, Any]) -> str:
    """Whether the reference pipeline draws what the prompt says."""
    prompts, networks = results["prompts"], results["networks"]
    agreed, asked = sum(row["agree"] for row in prompts.values()), sum(row["n"] for row in prompts.values())
    hardest = min(prompts, key=lambda prompt: prompts[prompt]["agree"])
    return document(
        "# The reference pipeline: does it draw what the prompt says?",
        "**Asked**: is the small text-to-image model that comes along good enough to measure edits on?",
        f"**On**: {_ABOUT}; {results['settings']}.",
        "**Commands**: `python -m experiments.garments.train_judges`, `python -m experiments.garments.train_pipeline`, "
        "`python -m experiments.garments.samples` (all three by `make reference`).",
        "**Control**: the judge's own accuracy on held-out real images.",
        table(
            ("prompt", "judge agrees", "95 %", "mean probability", "else"),
            (
                (
                    prompt,
                    f"{row['agree']} of {row['n']}",
                    interval(row["interval"], 2),
                    number(row["probability"], 2),
                    ", ".join(f"{n} {name}" for name, n in row["else"].items()),
                )
                for prompt, row in prompts.items()
            ),
        ),
        table(
            ("network", "accuracy on held-out images", *networks["judge"]["by_garment"]),
            (
                (name, number(row["accuracy"]), *(number(v) for v in row["by_garment"].values()))
                for name, row in networks.items()
                if "accuracy" in row
            ),
        ),
        f"The autoencoder has a root mean squared error of "
        f"{networks['autoencoder']['rmse_grey_levels']} grey levels of 255.",
        picture("samples.png", "The first seeds of each prompt"),
        picture("curve.png", "Loss of the training"),
        "## What it shows",
        f"The judge names the prompted garment on {agreed} of {asked} samples ({percent(agreed / asked)}). "
        f'It is hardest with "{hardest}" ({prompts[hardest]["agree"]} of {prompts[hardest]["n"]}): shirts, t-shirts, '
        "coats and pullovers are alike at this size, also for the judge "
        f"({number(networks['judge']['by_garment']['shirt'])} on real shirts). Grey pictures of 32x32: good for "
        "comparing methods of editing with each other, for nothing else.",
    )


def novelty_spaces(results: dict[str, Any]) -> str:
    """In which space a zoom is not new and a garment of another style is."""
    settings, rows = results["settings"], results["rows"]
    names = list(next(iter(rows.values())))
    ours, bare = names[0], names[-1]
    trivial = [name for name in rows if not name.startswith(("same", "other", "broken", "another"))]
    styles = [name for name in rows if name.startswith("other")]
    most = max(trivial, key=lambda name: rows[name][ours]["newer"])
    before = max(trivial, key=lambda name: rows[name][bare]["newer"])
    same, broken = rows["same styles"][ours], rows["broken"][ours]
    times = ", ".join(
        f"{name.removeprefix('other style: ')} {rows[name][ours]['newer'] / same['newer']:.1f}" for name in styles
    )
    return document(
        "# In which space is a zoom not new, and a garment of another style new?",
        "**Asked**: which measure of novelty survives trivial changes of what is already there?",
        f"**On**: {settings['garments']} garments of Fashion-MNIST, real pictures alone. A cloud of "
        f"{settings['cloud']} lacks one style (patterned, slim or wide); pictures that were never trained on are "
        "compared with it.",
        "**Commands**: `python -m experiments.garments.train_contrastive`, "
        "`python -m experiments.garments.novelty_spaces`.",
        "**Newer**: farther (5th neighbour) than 95 % of the cloud's own, so 0.05 is nothing new. **Counts**: newer, "
        f"inside the manifold of {settings['real']} real ones of all styles, "
        "and usable by the judge (probability 0.5).",
        "**Control**: pictures of the styles that the cloud has; the changes are of these, at the largest strengths.",
        table(
            ("", *(f"newer: {name}" for name in names), "95 % (first)", *(f"counts: {name}" for name in names)),
            (
                (
                    name,
                    *(number(row[space]["newer"], 2) for space in names),
                    interval(row[ours]["newer_interval"], 2),
                    *(number(row[space]["counts"], 3) for space in names),
                )
                for name, row in rows.items()
            ),
        ),
        "## What it shows",
        "In the contrastive space of aligned pictures every trivial change is flat: at most "
        f"{number(rows[most][ours]['newer'], 2)} are newer ({most}), of the unchanged {number(same['newer'], 2)}. "
        f"Garments of a style that the cloud lacks are newer more often, by this factor: {times}. In the autoencoder's "
        f"space, in which novelty was measured before, {number(rows[before][bare]['newer'], 2)} are newer where "
        f"nothing happened but: {before}. Alignment alone is not enough, it needs the network too.",
        f"Garments of another kind do not count ({number(rows['another garment'][ours]['counts'], 3)}); of what is "
        f"broken on purpose {number(broken['counts'], 3)} count, of the unchanged {number(same['counts'], 3)}: "
        "halves of two dresses look like a dress, to the judge and in the manifold. So breakage has to be watched for "
        "by other means; [the comparison of ways to draw](garments-creativity.md) asks for both aligned manifolds.",
    )


PAGES: tuple[Callable[[Any], str], ...] = (creativity, novelty_spaces, samples)
