"""What a module outputs: name it, record it, edit it, save the edit."""

from genmend.activations.contract import Edit, edit_class, edit_type
from genmend.activations.correction import Correction, CorrectionMismatchError, Gate, StopRule
from genmend.activations.correction_file import CorrectionFileError, load_correction, save_correction
from genmend.activations.editing import Handle, attach, edited
from genmend.activations.edits import AblateNeurons, CapNeurons, PullToMean, ScaleUnits
from genmend.activations.extremes import TopSamples, UnitQuantiles
from genmend.activations.layers import UnknownLayerError, find_layer, layer_names
from genmend.activations.recording import Recorded, Statistic, record
from genmend.activations.statistics import ActivationRate, MeanVariance

__all__ = [
    "AblateNeurons",
    "ActivationRate",
    "CapNeurons",
    "Correction",
    "CorrectionFileError",
    "CorrectionMismatchError",
    "Edit",
    "Gate",
    "Handle",
    "MeanVariance",
    "PullToMean",
    "Recorded",
    "ScaleUnits",
    "Statistic",
    "StopRule",
    "TopSamples",
    "UnitQuantiles",
    "UnknownLayerError",
    "attach",
    "edit_class",
    "edit_type",
    "edited",
    "find_layer",
    "layer_names",
    "load_correction",
    "record",
    "save_correction",
]
