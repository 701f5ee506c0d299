"""Explain one prediction: scores of the parts of a text, with tests of their own soundness."""
