"""What the defaults do without a label on a second real generator, on which nothing of them was settled.

    python -m experiments.faces.portraits

As experiments.faces.defaults, on the 300 rated portraits (experiments/data/portraits/README.md: one rater, so
"consensus" is what that rater calls a clear artifact, or normal). Needs the weights `portraits` too.
"""

from __future__ import annotations

from experiments.faces.defaults import run
from experiments.faces.labelled import load_labelled_portraits
from experiments.pages import write_page
from genmend.gans.families.pretrained import load_portraits

if __name__ == "__main__":
    run("portraits", load_labelled_portraits(), load_portraits())
    write_page("faces/portraits")
