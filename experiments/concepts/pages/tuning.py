"""What the page on tuned settings says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, number, table


def tuning(results: dict[str, Any]) -> str:
    """What settings that Optuna chose gain on images that they were not chosen on."""
    rows = results["rows"]
    first = rows[0]
    return document(
        "# Do tuned settings hold on other images?",
        "**Asked**: what does `genmend explain --tune` gain over the defaults on images that it did not choose by?",
        f"**On**: {first['n_tuned_on']} photographs of ImageNet to choose by and {first['n_held_out']} to judge by, "
        f"MobileNetV2; {first['n_trials']} trials of Optuna's TPE for the largest AbPC, the defaults the first.",
        "**Command**: `python -m experiments.concepts.tuning` (seed 0).",
        "**Control**: the defaults, on the same images.",
        table(
            ("method", "defaults", "chosen", "gain where it was chosen", "gain on the held-out images", "used"),
            (
                (
                    row["method"],
                    _settings(row["defaults"]),
                    _settings(row["settings"]),
                    number(row["gain_on_tuned"], sign=True),
                    estimate(
                        row["gain"], (row["gain"] - row["half_width"], row["gain"] + row["half_width"]), sign=True
                    ),
                    "yes" if row["used"] else "no",
                )
                for row in rows
            ),
        ),
        "## What it shows",
        "\n".join(f"* {_said(row)}" for row in rows),
    )


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )


def _said(row: dict[str, Any]) -> str:
    low, high = row["gain"] - row["half_width"], row["gain"] + row["half_width"]
    word = "a gain" if low > 0 else "a loss" if high < 0 else "no difference beyond chance"
    return f"{row['method']}: {word} on the held-out images."
