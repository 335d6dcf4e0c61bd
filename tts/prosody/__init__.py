"""Duration, pitch and sounds of single words: read by probes, edited in encoder vectors, measured on the audio."""
