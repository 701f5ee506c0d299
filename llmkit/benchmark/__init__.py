"""Measure the speed and memory of a model on this machine, beside the machine's limits and other programs."""
