"""What the pages of the garment experiments say; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, picture, table

_ABOUT = (
    "the reference pipeline of `genmend.diffusion.reference`, a text-to-image model of 32x32 garments trained on one "
    "CPU core (`make reference`)"
)
KEPT_WHOLE = 0.9  # of plain's share of whole pictures, for a default
KEEPERS_REAL = 50  # of 100, from which on the count can be trusted


def creativity(results: dict[str, Any]) -> str:
    """Which way to draw makes more keepers than drawing more seeds."""
    rows, settings = results["rows"], results["settings"]
    plain, real, broken = rows["plain"], rows["held-out real garments"], rows["control: broken on purpose"]
    ways = {name: row for name, row in rows.items() if "about" in row}
    trivial = {name: row for name, row in rows.items() if name.startswith("control: ") and "broken" not in name}
    ends = sorted(row["more_keepers"][0] for row in trivial.values())
    trusted = broken["keepers"][0] <= plain["keepers"][0] and real["keepers"][0] >= KEEPERS_REAL and not _more(trivial)
    better, at_95 = _more(ways, "more_keepers_corrected"), _more(ways)
    default = [name for name in better if ways[name]["whole"] >= KEPT_WHOLE * plain["whole"]]
    seeds = {name: f"{ends[0]}-{ends[1]}" for name, ends in settings["seeds"].items()}
    level = percent(1 - settings["alpha"] / len(ways), 1)
    most = max(ways, key=lambda name: ways[name]["keepers"][0])
    return document(
        "# Does amplification make a pipeline more creative than more seeds do?",
        "**Asked**: which way to draw makes more pictures that are whole, real and new, at equal cost?",
        f"**On**: {_ABOUT}; {len(settings['prompts'])} prompts, {settings['call']['num_inference_steps']} steps, "
        f"guidance {settings['call']['guidance_scale']:g}. Everything is chosen by keepers on seeds {seeds['choice']}, "
        f"told by the guide and one network that sees breakage; all is reported on seeds {seeds['report']}, by the "
        "judge and two such networks. **The rules were committed before a picture of those seeds was drawn** "
        "(docstring of `experiments/garments/creativity.py`).",
        "**Command**: `python -m experiments.garments.creativity`. A second part, on a world in which new and broken "
        "are known exactly, is in `experiments/objects`.",
        "**Usable**: the garment's probability is 0.5. **Unbroken**: so is that of being whole, by two networks that "
        "learnt from garments broken in eight ways, none of which stands below "
        "([measured](garments-novelty_spaces.md)). **Inside** the manifold of real garments in two spaces. **Whole**: "
        "all three. **Keepers**: whole, and newer than 95 % of the plain samples of the prompt, in a space in which "
        "trivial changes are not new; of 100 pictures, with 95 % intervals. The cost is a picture, so *more seeds* is "
        "the row of plain ones. **Minus plain**: a control of the same seeds, pair by pair; anything else of all "
        f"{plain['n']} plain ones; in brackets 95 %. **Second space**: keepers by distances in another network's "
        "space. **Newest of 8**: the novelty of the newest whole one, 1 being that of a keeper. **Different**: Vendi "
        "score of all keepers of the row. **Pays after**: pictures until the gain has made up for those that the "
        "choice cost.",
        "**Controls**: more plain seeds; trivial changes of the plain pictures, each as strong as keeps "
        f"{settings['matched']:g} of the guide's probabilities; pictures broken on purpose; real garments, held out.",
        table(
            ("", "chosen", "usable", "unbroken", "inside", "whole", "keepers of 100", "minus plain",
             "second space, minus plain", "newest of 8", "different", "prompts that gain, lose", "pays after"),
            (
                (
                    name,
                    row.get("about", ""),
                    *(number(row[key], 2) for key in ("usable", "intact", "inside", "whole")),
                    estimate(row["keepers"][0], row["keepers"][1:], 1),
                    _minus(row),
                    _minus(row, "more_keepers_in_the_second_space"),
                    number(row["newest_of_8"], 2),
                    number(row["different_keepers"], 1),
                    f"{row['prompts_that_gain']}, {row['prompts_that_lose']}",
                    _pays_after(row, plain),
                )
                for name, row in rows.items()
            ),
        ),
        picture("pairs.png", "Two seeds of each prompt"),
        picture("keepers.png", "Keepers, at most 16: plain, the three ways with the most, broken ones, real ones"),
        "## What it shows",
        f"**The count can be trusted** by the rule: {_yes(trusted)}. Plain pictures broken on purpose make "
        f"{number(broken['keepers'][0], 1)} keepers of 100, plain ones {number(plain['keepers'][0], 1)}; trivial "
        f"changes {number(ends[0], 1, sign=True)} to {number(ends[-1], 1, sign=True)} more, with confidence: "
        f"{_named(_more(trivial))}; held-out real garments {number(real['keepers'][0], 1)}. Before there was a test of "
        "breakage, 16.4 of 100 broken ones counted. **But the networks know breaking done by hand, not all that a "
        "pipeline can do**: the keepers of the strong gains (second picture) are burnt-out coats with frayed edges, "
        "trousers faded to a glimmer, smeared sneakers; those of the random band look most like garments. So beside "
        "the count stands what share of all pictures is whole.",
        f"**More keepers than more seeds give, with confidence ({level} for each of {len(ways)} ways): "
        f"{_named(better)}.** At 95 % for each alone: {_named(at_95)}. Most has {most}: {_minus(ways[most])}, with "
        f"{number(ways[most]['whole'], 2)} whole, plain {number(plain['whole'], 2)}.",
        "**Does the band matter?** Own searches, with equal trials: low "
        f"{_minus(ways['own search, low band'])}, full {_minus(ways['own search, full band'])}, random "
        f"{_minus(ways['own search, random band'])}. `genmend amplify --search`, which keeps pictures whole, took "
        f"{ways['amplify --search']['about']}.",
        *_at_the_commands_call(results.get("at_the_commands_call")),
        f"**What makes more keepers and keeps {KEPT_WHOLE:g} of the whole ones: {_named(default)}.** "
        f"Amplifications among them: {_named(set(default) - set(OTHER_WAYS))}. CADS ({ways['CADS, scale']['about']}, "
        "the largest that was tried) puts noise on the prompt and amplifies nothing: `genmend.diffusion.cads`. So what "
        f"`genmend amplify reference` amplifies where nothing is said stays {ways[OWN]['about']}, which make "
        f"{_minus(ways[OWN])} with {number(ways[OWN]['whole'], 2)} whole, at the command's cutoffs; and its `--search` "
        f"made {_minus(ways['amplify --search'])}.",
    )  # fmt: skip


OWN = "amplify's own gains"
OTHER_WAYS = ("FreeU, of SD 1.4's setting", "CADS, scale", "boosted noise, gamma")


def _at_the_commands_call(found: Any) -> list[str]:
    if found is None:
        return []
    plain, own = found["rows"]["plain"], found["rows"][OWN]
    return [
        f"At the command's own call ({found['call']['num_inference_steps']} steps, guidance "
        f"{found['call']['guidance_scale']:g}) its own gains make {estimate(own['keepers'][0], own['keepers'][1:], 1)} "
        f"keepers of 100, plain seeds {estimate(plain['keepers'][0], plain['keepers'][1:], 1)}: {_minus(own)} pair by "
        f"pair; whole are {number(own['whole'], 2)} and {number(plain['whole'], 2)}."
    ]


def _more(rows: Mapping[str, Any], key: str = "more_keepers") -> list[str]:
    return [name for name, row in rows.items() if row[key][1] > 0]


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _minus(row: Any, key: str = "more_keepers") -> str:
    return estimate(row[key][0], row[key][1:], 1, sign=True)


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
    same, broken, whole = rows["same styles"][ours], rows["broken"][ours], results["whole"]
    times = ", ".join(
        f"{name.removeprefix('other style: ')} {rows[name][ours]['newer'] / same['newer']:.1f}" for name in styles
    )
    return document(
        "# In which space is a zoom not new, and a garment of another style new?",
        "**Asked**: which measure of novelty survives trivial changes of what is already there?",
        f"**On**: {settings['garments']} garments of Fashion-MNIST, real pictures alone. A cloud of "
        f"{settings['cloud']} lacks one style (patterned, slim or wide); pictures that were never trained on are "
        "compared with it.",
        "**Commands**: `python -m experiments.garments.train_contrastive`, `.train_intact`, `.novelty_spaces`.",
        "**Newer**: farther (5th neighbour) than 95 % of the cloud's own, so 0.05 is nothing new. **Counts**: newer, "
        f"inside the manifold of {settings['real']} real ones of all styles, and usable: by the judge, and whole by "
        "both networks that see breakage (probabilities of 0.5).",
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
        f"broken on purpose {number(broken['counts'], 3)} count, of the unchanged {number(same['counts'], 3)}; without "
        "the two networks it was 0.124, since halves of two dresses look like a dress to the judge and in the "
        "manifold. [The comparison of ways to draw](garments-creativity.md) asks for both aligned manifolds besides.",
        "## Which garments are whole?",
        "Share that each network calls whole. `intact` chooses and is the tool's, `intact_judge` judges with it; each "
        "learnt from the four ways of breaking with its name, neither from those of the row *broken* (halves of two, a "
        "hole, melted, half of it gone), nor from the sharpened or posterised.",
        table(
            ("", *WATCHERS, "both"),
            (
                (name, *(number(told[network], 2) for network in (*WATCHERS, "both")))
                for name, told in results["whole"].items()
            ),
        ),
        f"Of real ones {number(whole['same styles']['both'], 2)} are whole to both, of styles that the cloud lacks "
        f"{_least_and_most([whole[name]['both'] for name in styles])}, of trivially changed ones "
        f"{_least_and_most([whole[name]['both'] for name in trivial])}; of broken ones "
        f"{number(whole['broken']['both'], 2)} still.",
    )


WATCHERS = ("intact", "intact_judge")


def _least_and_most(shares: Sequence[float]) -> str:
    return f"{number(min(shares), 2)} to {number(max(shares), 2)}"


PAGES: tuple[Callable[[Any], str], ...] = (creativity, novelty_spaces, samples)
