"""The real Piper voice, loaded and turned into a torch model once; no test changes either."""

import pytest


@pytest.fixture(scope="session")
def joe():
    """en_US-joe-medium; tests that take it are marked ``real("joe")``."""
    pytest.importorskip("onnxruntime")
    from genmend.tts.voices.piper import PiperVoice

    return PiperVoice.joe()


@pytest.fixture(scope="session")
def joe_torch(joe):
    """The same voice as transformers' VitsModel, its parameters frozen."""
    pytest.importorskip("transformers")
    from genmend.tts.voices.piper_torch import to_torch

    return to_torch(joe)
