"""Text to tokens: phonemes, symbol tables, sentences, and which token belongs to which word."""
