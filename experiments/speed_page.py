"""What docs/speed.md says; every figure comes from a result file of the benchmarks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from experiments.markdown import document, table

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_NAMES = {
    "ours": "**genmend**",
    "ours, pure torch": "genmend without a compiler (torch, bfloat16)",
    "ours, numpy": "genmend without a compiler and bfloat16 (numpy)",
    "prdc": "prdc",
    "dense rarity": "rarity score, dense form",
    "torch-fidelity": "torch-fidelity, low-memory form",
    "scikit-learn": "scikit-learn, brute force, in blocks",
    "faiss": "faiss, flat",
}


def speed_text() -> str:
    """The page."""
    metrics, large = _text("Intel-R-Xeon-R-Processor.txt"), _text("30k-Intel-R-Xeon-R-Processor.txt")
    amplification = json.loads(_text("amplification-AMD-EPYC.json"))
    operator, unet = amplification["operator"], amplification["unet"]
    large_models = json.loads(_text("large-AMD-EPYC.json"))
    return document(
        "# How fast it is",
        "Every figure stands in a file of `benchmarks/results/`, with the machine it was measured on. Times are CPU "
        "seconds of one thread; beside them, how many times as long as genmend. The engine on AVX2 alone, its kernels, "
        "start-up and the demo: [parts](speed-parts.md).",
        "## Manifold metrics",
        "`make bench` runs the metrics beside others on the same features, in one process, interleaved. All compute "
        "precision, recall, density and coverage, but torch-fidelity (the first two) and the dense rarity score "
        "(rarity alone).",
        f"*{_machine(metrics)}; {metrics.splitlines()[1]}; n reference and n query samples.*",
        *_metric_tables(metrics),
        "Larger:",
        f"*{large.splitlines()[1]}.*",
        *_metric_tables(large),
        "Of a product: CPU time over that of one bare float32 product of the same size (numpy). Difference: from "
        "genmend's numbers, which are those of a float64 check. Where that of faiss is not 0, its "
        "float32 distances decide some samples otherwise. See "
        "[features far from the origin](results/images-shifted_features.md).",
        "## A million references out of core",
        "`make million`:",
        _block(_text("million-Intel-R-Xeon-R-Processor.txt").split("\n\n")[0]),
        _text("million-Intel-R-Xeon-R-Processor.txt").split("\n\n")[1],
        "More on sizes, memory and machines: [scale](scale.md).",
        "## From images to features",
        *_extraction(json.loads(_text("extraction-AMD-EPYC.json"))),
        "## Memory of whole commands",
        *_memory(json.loads(_text("memory-AMD-EPYC.json"))),
        "## Low-frequency amplification",
        f"`python benchmarks/amplification_speed.py`. *{operator['machine']}.* The operator alone, against the "
        "published one (a complex Fourier transform):",
        table(
            ("activation", "type", "genmend, ms", "published, ms", "times as fast", "genmend's error", "published"),
            (
                (
                    "x".join(map(str, row["shape"])),
                    row["dtype"],
                    row["ours_ms"],
                    row["published_ms"],
                    row["ratio"],
                    f"{row['error_ours']:.1e}",
                    f"{row['error_published']:.1e}",
                )
                for row in operator["rows"]
            ),
        ),
        f"In a U-Net of {unet['parameters']:,} parameters the edits take {unet['edits_seconds']} of "
        f"{unet['call_seconds']} seconds a call.",
        "## Large generators",
        "`make large`: whole commands, by the path of a converted StyleGAN2 of true widths and random weights, each in "
        f"a process of its own. *{large_models['machine']}.* Other work ran on the machine, so the seconds are high.",
        table(
            ("image", "command", "peak memory, GB", "limit, GB", "CPU seconds", "counts"),
            (
                (
                    f"{row['side']} x {row['side']}",
                    row["command"],
                    row["gigabytes"],
                    row["limit"],
                    row["cpu_seconds"],
                    f"`{row['options']}`",
                )
                for row in large_models["rows"]
            ),
        ),
        "## Statistics of units, and dissection",
        "`python benchmarks/unit_statistics.py` and `python benchmarks/dissection_time.py`:",
        *(
            _block(_text(name))
            for name in ("units-Intel-R-Xeon-R-Processor.txt", "units-AMD-EPYC.txt", "dissection-AMD-EPYC.txt")
        ),
    )


def _extraction(found: dict[str, Any]) -> list[str]:
    """The section on feature extraction."""
    names, images = dict.fromkeys(run["contender"] for run in found["runs"]), 2 * found["n"]
    all_runs = {name: sorted(run["cpu"] for run in found["runs"] if run["contender"] == name) for name in names}
    ours = all_runs["genmend"][0]
    return [
        "The embedded image extractors run by onnxruntime where no gradient is asked for (one graph of each, exported "
        "once into the user's cache and compared with torch: the same features to 1e-4 of their length, whatever the "
        "batch size), and by torch with batch norms folded into convolutions where one is. Which of the two computed "
        "is the `engine` of a recorded pipeline; kept features serve both. Files are decoded, resized and run by as "
        "many threads as torch has. openvino was tried: 0.9 to 1.2 times as fast as onnxruntime, so it is left "
        "out. Nor do onnxruntime's own options gain anything: batches, denormal numbers, memory arena, packed weights.",
        f"`python benchmarks/extraction_speed.py`: whole runs from two folders of {found['n']:,} JPEGs of "
        f"{found['side']} x {found['side']} to the scores, each in a process of its own, with EfficientNet-Lite0 for "
        'all; start-up, and for genmend the export, the metrics and the page, included. "before" is the version of '
        f"before the engine was brought in. *{found['conditions']}.* Other work ran on the machine: of several runs "
        "the least CPU time is shown.",
        table(
            ("", "CPU time", "runs", "times genmend's", "images a CPU second"),
            (
                (
                    name.replace("genmend, again", "genmend, a second time (features kept)"),
                    f"{least[0]:.1f} s",
                    len(least),
                    f"{least[0] / ours:.2f}",
                    f"{images / least[0]:.0f}",
                )
                for name, least in all_runs.items()
                if name != "genmend before, again"
            ),
        ),
    ]


def _memory(found: dict[str, Any]) -> list[str]:
    """The section on what commands hold."""
    grown = {row["command"]: f"{row['kb_a_sample']} kB" for row in found["growth"] if row["version"] == "now"}
    return [
        "`python benchmarks/command_memory.py`: commands on the face generator, each in a process of its own, on one "
        "thread. Peak: the largest resident memory, pages of libraries with it (`import torch` alone takes half a "
        "gigabyte); own: what no file backs. Each sample more adds the last column to the peak, by two runs that "
        f"differ in their number alone. *{found['machine']}.*",
        table(
            ("command", "peak, MB", "own, MB", "CPU seconds", "a sample more"),
            (
                (
                    f"`{run['command']} {run['options']}`",
                    run["peak_mb"],
                    run["own_mb"],
                    run["cpu_seconds"],
                    grown.get(run["command"], "-"),
                )
                for run in found["runs"]
                if run["version"] == "now"
            ),
        ),
    ]


def _text(name: str) -> str:
    return (RESULTS / name).read_text(encoding="utf-8")


def _machine(text: str) -> str:
    return text.splitlines()[0]


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```"


def _metric_tables(text: str) -> list[str]:
    """A table for each number of features, of the largest n measured with one thread."""
    one_thread = re.split(r"^2 threads", text, flags=re.MULTILINE)[0]
    pattern = r"^ *(\d+) +(\d+)  (\S.*?) +([\d.]+) +([\d.]+)x +[\d.]+ +[\d.]+x +([\d.]+) +[\d.]+ +(\d+) +(\S+)$"
    rows = re.findall(pattern, one_thread, flags=re.MULTILINE)
    n = max(int(row[0]) for row in rows)
    tables = []
    for width in sorted({int(row[1]) for row in rows}):
        found = [row for row in rows if (int(row[0]), int(row[1])) == (n, width)]
        head = (
            f"n = {n:,}, {width:,} features",
            "CPU time",
            "times genmend's",
            "of a product",
            "peak memory",
            "difference",
        )
        cells = (
            (_NAMES[name], f"{s} s", ratio, part, f"{mb} MB", apart) for _, _, name, s, ratio, part, mb, apart in found
        )
        tables.append(table(head, cells))
    return tables
