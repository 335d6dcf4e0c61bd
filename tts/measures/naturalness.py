"""How natural speech sounds to a model of listeners: DNSMOS."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from genmend.tts.measures.audio_input import RATE, is_silent, missing_package, resample_to

__all__ = ["Naturalness", "dnsmos"]


@dataclass(frozen=True)
class Naturalness:
    """Predicted mean opinion scores, 1 (bad) to 5 (excellent); HIGHER is better.

    Attributes
    ----------
    overall, signal, background : float
        After ITU-T P.835: as a whole, the speech in itself, and how little noise disturbs.
    p808 : float
        As a whole, after ITU-T P.808, by another network.
    """

    overall: float
    signal: float
    background: float
    p808: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def dnsmos(audio: np.ndarray, sample_rate: int) -> Naturalness:
    """Predict DNSMOS of one recording by the package speechmos (MIT, networks in the package).

    Trained on recordings with noise and its suppression, not on synthetic speech: it hears noise and distortion, not
    whether the words are right. Audio that exceeds full scale is scaled down to it; the networks hear 9 s at a time,
    shorter audio repeated.

    Source: Reddy et al., arXiv 2110.01763.

    Parameters
    ----------
    audio
        (samples,) mono, full scale 1.

    Raises
    ------
    ValueError
        For silence (no sample above -80 dB), and audio that is not 1-D, empty, longer than 10 minutes or not finite.
    ModuleNotFoundError
        If the package speechmos, or one that it needs, is not installed.
    """
    wave = resample_to(audio, sample_rate)
    if is_silent(wave):
        raise ValueError("The audio is silent, and silence has no quality to predict; give speech.")
    try:
        from speechmos import dnsmos as networks
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "speechmos", "DNSMOS needs") from error
    found = networks.run(wave / max(1.0, float(np.abs(wave).max())), RATE)
    names = ("ovrl_mos", "sig_mos", "bak_mos", "p808_mos")
    return Naturalness(*(float(found[name]) for name in names))
