"""What a module outputs: name it, record it, edit it, save the edit."""

from genmend.activations.contract import Edit, edit_type
from genmend.activations.correction import Correction, Gate, StopRule
from genmend.activations.correction_file import load_correction, save_correction
from genmend.activations.editing import Handle, attach, edited
from genmend.activations.edits import AblateNeurons, CapNeurons, PullToMean, ScaleUnits
from genmend.activations.extremes import TopSamples, UnitQuantiles
from genmend.activations.latent_descent import LatentDescent
from genmend.activations.layers import layer_names
from genmend.activations.recording import record
from genmend.activations.statistics import ActivationRate, MeanVariance

__all__ = [
    "AblateNeurons",
    "ActivationRate",
    "CapNeurons",
    "Correction",
    "Edit",
    "Gate",
    "Handle",
    "LatentDescent",
    "MeanVariance",
    "PullToMean",
    "ScaleUnits",
    "StopRule",
    "TopSamples",
    "UnitQuantiles",
    "attach",
    "edit_type",
    "edited",
    "layer_names",
    "load_correction",
    "record",
    "save_correction",
]
