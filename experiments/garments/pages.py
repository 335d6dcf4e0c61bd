"""What the pages of the garment experiments say; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

_ABOUT = (
    "the reference pipeline of `genmend.diffusion.reference`, a text-to-image model of 32x32 garments trained on one "
    "CPU core (`make reference`)"
)


def creativity(results: dict[str, Any]) -> str:
    """Low-frequency amplification: novelty won at usability kept."""
    rows, minus, settings = results["rows"], results["novelty_of_ours_minus"], results["settings"]
    ours, kept, full = rows["ours"], rows["ours, share inside kept"], rows["control: full, gains as ours"]
    choice, report = settings["seeds"]["choice"], settings["seeds"]["report"]
    gains = results["gains"]["ours"]
    return document(
        "# Does amplifying low frequencies make a pipeline more creative?",
        "**Asked**: does low-frequency amplification (C3) win novelty at kept usability, and is it the low band that "
        "does it?",
        f"**On**: {_ABOUT}; {len(settings['prompts'])} prompts. Gains are chosen on seeds {choice[0]}-{choice[1]} by "
        f"the guide network alone, reported on seeds {report[0]}-{report[1]} by networks that had no part.",
        "**Command**: `python -m experiments.garments.creativity`.",
        "**Usability**: the judge's mean probability of the garment. **Novelty**: mean distance to the 5th neighbour "
        "among unamplified samples of the prompt, over the samples inside the manifold of real garments.",
        "**Controls**: the full band, the high band, random bins and noise, each as strong as its usability on the "
        "seeds of the search allows, with one gain in all blocks and with gains in the proportions of ours.",
        table(
            ("", "usability", "to unamplified, one-sided 95 %", "novelty", "to unamplified, 95 %", "inside",
             "novelty of ours minus it"),
            (
                (
                    name,
                    number(row["usability"]),
                    estimate(row["usability_ratio"], row["usability_bounds"]),
                    number(row["novelty"]),
                    estimate(row["novelty_ratio"], row["novelty_interval"]),
                    number(row["inside"]),
                    interval(minus[name], 2, sign=True) if name in minus else "",
                )
                for name, row in rows.items()
            ),
        ),
        table(
            ("gains", *gains),
            ((name, *(f"{gain:g}" for gain in row.values())) for name, row in results["gains"].items()),
        ),
        picture(
            "pairs.png",
            "Rows in the order of the table, two seeds of each prompt: some of what is new is faded or torn",
        ),
        picture("search.png", "The trials of the search: usability against novelty"),
        "## What it shows",
        f"Ours has {number(ours['novelty_ratio'])} times the novelty at {number(ours['usability_ratio'])} of the "
        "usability, newer than every control (intervals of all differences exclude 0). But **the low band is the "
        f"smaller part of it**: the full band with the same gains reaches {number(full['novelty_ratio'])} (ours minus "
        f"it: {interval(minus['control: full, gains as ours'], 2, sign=True)} in distance, of "
        f"{number(ours['novelty'], 2)}). What does most is to amplify the middle block strongly and the down blocks "
        "little.",
        f"**The price is all of it**: the share inside the manifold of real garments falls from "
        f"{number(rows['unamplified']['inside'])} to {number(ours['inside'])}, some of what is new is faded or torn, "
        f"and a search that has to keep {settings['keep_inside']:g} of the share inside wins nothing: "
        f"{estimate(kept['novelty_ratio'], kept['novelty_interval'])}. On this model our gains buy the new at the edge "
        "of what is real.",
    )  # fmt: skip


def companions(results: dict[str, Any]) -> str:
    """FreeU, CADS and boosted noise at the same usability."""
    rows = results["rows"]
    freeu, cads, boosted = rows[1:]
    return document(
        "# FreeU, CADS and boosted noise beside low-frequency amplification",
        "**Asked**: what do other training-free edits win in novelty at the same usability?",
        f"**On**: {_ABOUT}, the same prompts and seeds as [creativity](garments-creativity.md).",
        "**Command**: `python -m experiments.garments.companions`.",
        "**Control**: each method is as strong as its usability, by the guide and on the seeds of the search, stays at "
        f"least {number(results['usable_as'])} of the unamplified.",
        table(
            ("method", "strength", "usability, one-sided 95 %", "novelty, 95 %", "inside", "ours minus it"),
            (
                (
                    row["method"],
                    row["strength"],
                    estimate(row["usability_ratio"], row["usability_bounds"]),
                    estimate(row["novelty_ratio"], row["novelty_interval"]),
                    number(row["inside"]),
                    interval(row["ours_minus_it"], sign=True),
                )
                for row in rows
            ),
        ),
        picture("pairs.png", "Rows: unamplified, ours, FreeU, CADS, boosted noise; the same prompts and seeds"),
        "## What it shows",
        f"FreeU ({number(freeu['novelty_ratio'])}) and CADS ({number(cads['novelty_ratio'])}) are a little newer and "
        f"stay near the real share (inside {number(freeu['inside'])} and {number(cads['inside'])}); boosted noise "
        f"({number(boosted['novelty_ratio'])}) does not ({number(boosted['inside'])}), and on the reported seeds its "
        f"usability is {number(boosted['usability_ratio'])}, at least {number(boosted['usability_bounds'][0])}: less "
        "than on the seeds of the search.",
    )


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
        f"inside the manifold of {settings['real']} real ones of all styles (of aligned pictures: in both spaces), "
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
        "halves of two dresses look like a dress, to the judge and in both manifolds.",
    )


PAGES: tuple[Callable[[Any], str], ...] = (companions, creativity, novelty_spaces, samples)
