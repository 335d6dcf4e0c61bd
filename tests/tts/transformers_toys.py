"""Tiny voices of transformers' classes with random weights."""

import json

import torch
from transformers import (
    FastSpeech2ConformerConfig,
    FastSpeech2ConformerHifiGan,
    FastSpeech2ConformerHifiGanConfig,
    FastSpeech2ConformerModel,
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    VitsConfig,
    VitsModel,
    VitsTokenizer,
)
from voice_toys import random_module

from genmend.tts.voices.fastspeech import FastSpeechVoice, fastspeech_reader
from genmend.tts.voices.speecht5 import SpeechT5Voice, speecht5_reader
from genmend.tts.voices.vits import VitsVoice, vits_reader

LETTERS = ["k", *"abcdefghij", " ", "'", "é"]  # as in MMS, number 0 is a letter and the blank
SOUNDS = ["<blank>", "<unk>", "AH0", "D", "HH", "L", "OW1", ",", "<sos/eos>"]
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"etaoinshrdlu.,T"]
VOCODER = {
    "upsample_initial_channel": 8,
    "upsample_rates": [4, 5],
    "upsample_kernel_sizes": [8, 11],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 2]],
}


def vits_config(**options):
    small = {
        "vocab_size": len(LETTERS),
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "ffn_dim": 24,
        "flow_size": 8,
        "spectrogram_bins": 9,
        "duration_predictor_filter_channels": 16,
        "prior_encoder_num_flows": 2,
        "prior_encoder_num_wavenet_layers": 2,
        "posterior_encoder_num_wavenet_layers": 2,
        "wavenet_dilation_rate": 1,
        "depth_separable_num_layers": 2,
        "duration_predictor_num_flows": 2,
        "sampling_rate": 8_000,
    }
    return VitsConfig(**small | VOCODER | options)


def vits_tokenizer(folder, **options):
    (folder / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(LETTERS)}))
    return VitsTokenizer(folder / "vocab.json", phonemize=False, **options)


def vits_voice(folder, config=None, **options):
    model = random_module(lambda: VitsModel(config or vits_config()))
    return VitsVoice(model, vits_reader(vits_tokenizer(folder), "toy VITS"), name="toy VITS", **options)


def fastspeech_config(**options):
    sizes = {"layers": 2, "num_attention_heads": 2, "linear_units": 24, "kernel_size": 3, "normalize_before": True}
    sizes |= dict.fromkeys(("dropout_rate", "positional_dropout_rate", "attention_dropout_rate"), 0.0)
    sizes |= {"concat_after": False}
    small = {"hidden_size": 16, "vocab_size": len(SOUNDS), "num_mel_bins": 10, "encoder_config": sizes}
    small |= {"decoder_config": dict(sizes), "duration_predictor_channels": 12, "pitch_predictor_channels": 12}
    small |= {"energy_predictor_channels": 12, "speech_decoder_postnet_units": 8, "pitch_predictor_layers": 2}
    return FastSpeech2ConformerConfig(**small | options)


def fastspeech_model(config=None):
    model = random_module(lambda: FastSpeech2ConformerModel(config or fastspeech_config()))
    # Random weights would give most sounds no frame at all.
    torch.nn.init.constant_(model.duration_predictor.linear.bias, 1.5)
    return model


def fastspeech_vocoder(bins=10):
    config = FastSpeech2ConformerHifiGanConfig(model_in_dim=bins, sampling_rate=8_000, **VOCODER)
    return random_module(lambda: FastSpeech2ConformerHifiGan(config))


def fastspeech_voice(config=None, **options):
    read = fastspeech_reader({symbol: i for i, symbol in enumerate(SOUNDS)}, "toy FastSpeech")
    return FastSpeechVoice(fastspeech_model(config), read, fastspeech_vocoder(), name="toy FastSpeech", **options)


def speecht5_config(**options):
    small = {
        "vocab_size": len(PIECES),
        "hidden_size": 16,
        "encoder_layers": 3,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 24,
        "speech_decoder_prenet_units": 12,
        "speech_decoder_postnet_units": 8,
        "speaker_embedding_dim": 6,
        "num_mel_bins": 10,
        "max_text_positions": 30,
        "max_speech_positions": 700,
    }
    return SpeechT5Config(**small | options)


def speecht5_model(stop=-20.0):
    model = random_module(lambda: SpeechT5ForTextToSpeech(speecht5_config()))
    torch.nn.init.constant_(model.speech_decoder_postnet.prob_out.bias, stop)
    return model


def speecht5_vocoder(bins=10):
    return random_module(
        lambda: SpeechT5HifiGan(SpeechT5HifiGanConfig(model_in_dim=bins, sampling_rate=8_000, **VOCODER))
    )


def speecht5_voice(model=None, **options):
    read = speecht5_reader({symbol: i for i, symbol in enumerate(PIECES)}, "toy SpeechT5")
    options = {"speaker": torch.arange(6.0), "name": "toy SpeechT5", **options}
    return SpeechT5Voice(model or speecht5_model(), read, speecht5_vocoder(), **options)
