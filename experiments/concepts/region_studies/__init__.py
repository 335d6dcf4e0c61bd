"""The parts of the experiment on regions."""
