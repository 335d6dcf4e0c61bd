"""Voices of five families behind one interface."""
