"""Text-to-speech: hear where a voice loses its way, and mend it."""
