"""Explain a decision by the methods that apply, measure each explanation, and say which serve best."""
