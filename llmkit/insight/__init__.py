"""Explain predictions, and measure bias."""
