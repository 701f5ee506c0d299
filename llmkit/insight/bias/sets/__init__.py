"""Bias sets: each file reads one as it was published, and defines its measures."""
