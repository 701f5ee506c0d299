"""Counterfactual swaps: a text about one group becomes the same text about another."""
