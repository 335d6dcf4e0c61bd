"""Tiny voices with random weights, of the classes that real ones have."""

from functools import cache

import numpy as np
import torch
from torchaudio.models import Tacotron2

from genmend.tts.voices.mel import LogMel
from genmend.tts.voices.tacotron import TacotronVoice

SYMBOLS = ["^", "$", " ", ".", *"abdeimnostuɐɔəˈː"]
SENTENCES = ("dˈasət mˈɔːn.", "ɐ bˈɔːs", "nəbˈita sˈudə tˈa nimˈo.")
WIDTHS = {
    "n_mels": 20,
    "symbol_embedding_dim": 12,
    "encoder_embedding_dim": 12,
    "attention_rnn_dim": 16,
    "decoder_rnn_dim": 16,
    "prenet_dim": 16,
    "attention_hidden_dim": 8,
    "attention_location_n_filter": 4,
    "postnet_embedding_dim": 8,
}


def random_module(build, seed=0):
    """A module in evaluation mode with the weights of a seed; norms have statistics that are not those of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().eval()
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm1d):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
    return module


def toy_tacotron(*, frames=30, gate=-10.0, **widths):
    """A Tacotron2 that ends where its gate, with this bias, says so, or after so many frames."""
    model = random_module(lambda: Tacotron2(n_symbol=len(SYMBOLS), decoder_max_step=frames, **(WIDTHS | widths)))
    torch.nn.init.constant_(model.decoder.gate_layer.bias, gate)
    return model


def toy_voice(model=None, **options):
    """A TacotronVoice over SYMBOLS."""
    mel = LogMel(8_000, n_fft=256, hop=80, n_mels=20, highest=4_000.0)
    return TacotronVoice(model or toy_tacotron(), SYMBOLS, mel, **options)


@cache
def shared_voice():
    """The voice of `toy_voice()`, one for all tests; none may change it."""
    return toy_voice()


def largest_difference(one, other):
    """Of two spoken waveforms; infinite where they are not even as long."""
    return float(np.abs(one - other).max()) if one.shape == other.shape else np.inf


def n_hooks(module):
    """Hooks on a module and all below it."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())
