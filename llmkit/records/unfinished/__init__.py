"""Unfinished results, and files of killed commands."""
