"""genmend serve with small examples, as the tests of the page look at it.

A set of samples with a file called slow.png waits, step by step, until there is a file go-on in the output folder: for
tests of what a person does meanwhile.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from genmend.storage.progress import with_progress
from genmend.tts.mending.reference import fit_reference
from genmend.tts.text.corpus import ENGLISH, read_sentences, tokenize_corpus
from genmend.workbench.app import comparison, explain_tab
from genmend.workbench.app.amplify import work as amplify_work
from genmend.workbench.app.generator import inspected
from genmend.workbench.app.voice import work as voice_work
from genmend.workbench.cli.main import main

N_STEPS, SECONDS = 2000, 0.15
N_SENTENCES = 120


def reference_of_few(voice):
    """What is normal for a voice, learnt from few sentences and kept nowhere."""
    return fit_reference(voice, tokenize_corpus(voice, read_sentences(ENGLISH)[:N_SENTENCES]))


def made_small():
    """Turn down the numbers of the examples."""
    comparison.N_EXAMPLE = 24
    explain_tab.N_CROPS = 8
    explain_tab.N_DRAWS = 3
    explain_tab.METHODS = ("grad-cam", "saliency")
    amplify_work.EXAMPLE |= {"n": 4, "steps": 4}
    voice_work.reference_for = reference_of_few
    inspected.SCORE = replace(inspected.SCORE, n_statistics=100, n_reference=100)
    inspected.LABELS = replace(inspected.LABELS, n_statistics=32, n_images=32)
    compute, go_on = comparison.compute_score, Path(sys.argv[sys.argv.index("--out") + 1], "go-on")

    def slowly(reference, query, **options):
        if any(path.stem == "slow" for path in Path(query).rglob("*")):
            for _ in with_progress(range(N_STEPS), "waiting on purpose", N_STEPS, show=False):
                time.sleep(SECONDS)
                if go_on.exists():
                    break
        return compute(reference, query, **options)

    comparison.compute_score = slowly


if __name__ == "__main__":
    made_small()
    sys.argv[0] = "genmend"
    main()
