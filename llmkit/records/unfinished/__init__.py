"""Unfinished results, and the files that a killed command left."""
