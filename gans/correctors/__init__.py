"""Every published way to mend broken samples, and ours, behind one interface: `fit`, then `edits`, `move`, `correct`.

Words: a *Corrector* learns edits or moves latents; a *Correction* is edits, and moves of the latent, with a gate and a
stop rule, and is what a file holds; ``corrected(generator, correction)`` is the generator that applies one with
judgement, and its result is `Corrected`. `genmend.gans.correct` does all of it.

Which one when:

- `RareNeurons` needs nothing but the generator. Start here.
- `DefectiveUnits` needs labelled broken samples, and masks of what is broken in them; without masks it trains a
  classifier and takes its Grad-CAM. Its edits name units, so they can be looked at.
- `LocallyActiveUnits` needs no label either and edits each sample in its own way; it can't be kept in a file.
- `LatentOptimisation` and `Truncation` leave the network alone and move the latents: baselines.
- `RandomUnits` and `RandomNeurons` are controls: what any edit of that size does. Report them beside every correction.
"""

from genmend.gans.correctors.corrector import Corrector
from genmend.gans.correctors.defective_score import defective_score, unit_masks
from genmend.gans.correctors.defective_units import DefectiveUnits
from genmend.gans.correctors.latent_optimisation import LatentOptimisation
from genmend.gans.correctors.locally_active_units import LocallyActiveUnits
from genmend.gans.correctors.manifold_guided import FeatureTarget, ManifoldGuided
from genmend.gans.correctors.matched_control import RandomNeurons, RandomUnits
from genmend.gans.correctors.rare_neurons import RareNeurons
from genmend.gans.correctors.truncation import Truncation

__all__ = [
    "Corrector",
    "DefectiveUnits",
    "FeatureTarget",
    "LatentOptimisation",
    "LocallyActiveUnits",
    "ManifoldGuided",
    "RandomNeurons",
    "RandomUnits",
    "RareNeurons",
    "Truncation",
    "defective_score",
    "unit_masks",
]
