"""Voices: detection, repair and prosody edits, measured; the training of the reference Tacotron 2."""
