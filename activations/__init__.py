"""What a module outputs: name it, record it, edit it, save the edit."""

from activations.contract import Edit, edit_class, edit_type
from activations.correction import Correction, CorrectionMismatchError, Gate
from activations.correction_file import CorrectionFileError, load_correction, save_correction
from activations.editing import Handle, attach, edited
from activations.edits import AblateNeurons, CapNeurons, PullToMean, ScaleUnits
from activations.extremes import TopSamples, UnitQuantiles
from activations.files import atomic_write
from activations.layers import UnknownLayerError, find_layer, layer_names
from activations.recording import Recorded, Statistic, record
from activations.statistics import ActivationRate, MeanVariance

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
    "TopSamples",
    "UnitQuantiles",
    "UnknownLayerError",
    "atomic_write",
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
