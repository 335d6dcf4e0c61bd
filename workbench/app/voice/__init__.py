"""The Voice tab: say a text, see where the voice is lost, mend it, and say a word in another way."""
