"""Measurements of bias: published sets, swapped terms, and prompts about groups.

`measure.bias` is the public function. A set (`sets/`) turns published files into `BiasItem`s, `scoring` runs
a model over them, and `estimates` turns the scores of all items into numbers with intervals.
"""
