"""How fast this CPU multiplies: single instructions, and the compiled engine's kernels beside them; one thread.

Instructions have all operands in registers, so that no kernel made of them can be faster. Tiles come with their bounds
and comparisons, from codes in the cache; so do the products of single pairs of 16-bit codes.

    python benchmarks/kernel_rates.py --save      # also as benchmarks/results/kernels-<CPU>.txt
"""

from __future__ import annotations

import argparse
import os
import sys

from machine import conditions, result_file

WIDTHS = (64, 2048)  # of projections, and of features


def table() -> list[str]:
    """A line for each instruction and kernel; empty without the compiled engine."""
    from genmend.manifold.engine.native_screen import native_kernels

    if not native_kernels():
        return ["no compiled engine here"]
    from genmend.manifold.engine import _native

    narrow, wide = (_native.rates(width) for width in WIDTHS)
    heads = [f"{width} values" for width in WIDTHS]
    lines = [f"{'10^9 multiply-adds a CPU second':<36}{heads[0]:>12}{heads[1]:>12}"]
    for name, rate in wide.items():
        few = f"{narrow[name]:.0f}" if " by " in name else ""
        lines.append(f"{name:<36}{few:>12}{rate:>12.0f}")
    return lines


def main() -> None:
    """Parse, measure, and save the table if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/kernels-CPU.txt")
    arguments = parser.parse_args()
    lines = [conditions("numpy"), "", *table()]
    print("\n".join(lines))
    if arguments.save:
        target = result_file("kernels")
        target.write_text("\n".join(lines) + "\n")
        print(f"written to {os.path.relpath(target)}", file=sys.stderr)


if __name__ == "__main__":
    main()
