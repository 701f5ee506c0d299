"""Explain one prediction: scores of the parts of a text, with measures of faithfulness."""
