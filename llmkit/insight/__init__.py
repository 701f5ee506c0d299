"""Explanations of predictions, and measurements of bias."""
