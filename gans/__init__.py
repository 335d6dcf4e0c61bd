"""Find what breaks a GAN's samples, and mend it.

``load_generator`` or ``Generator`` adapt a model; ``ArtifactDetector`` says which samples are broken;
``fit_correction`` finds the neurons responsible and makes a correction; ``corrected`` applies it with judgement.
"""

from gans.conversion_folder import load_converted
from gans.convert import ConversionError, convert
from gans.corrected import UNTOUCHED, Corrected, CorrectedGenerator, Treatment, corrected
from gans.correction import Contrast, Rung, default_rungs, fit_correction, rung_edits
from gans.detection import ArtifactDetector, Detection
from gans.detector_file import DetectorFileError, load_detector, save_detector
from gans.discriminator_score import DiscriminatorScore
from gans.eyes import EYE_COLOURS, load_eyes
from gans.faces import load_faces
from gans.families.dcgan import DCGAN
from gans.generator import Generator, activation_layers, load_generator
from gans.local_activation import LocalActivation
from gans.rare_activation import RareActivation, ablated_share
from gans.soft_logistic import LinearScore, cross_validated_scores, fit_soft_logistic

__all__ = [
    "DCGAN",
    "EYE_COLOURS",
    "UNTOUCHED",
    "ArtifactDetector",
    "Contrast",
    "ConversionError",
    "Corrected",
    "CorrectedGenerator",
    "Detection",
    "DetectorFileError",
    "DiscriminatorScore",
    "Generator",
    "LinearScore",
    "LocalActivation",
    "RareActivation",
    "Rung",
    "Treatment",
    "ablated_share",
    "activation_layers",
    "convert",
    "corrected",
    "cross_validated_scores",
    "default_rungs",
    "fit_correction",
    "fit_soft_logistic",
    "load_converted",
    "load_detector",
    "load_eyes",
    "load_faces",
    "load_generator",
    "rung_edits",
    "save_detector",
]
