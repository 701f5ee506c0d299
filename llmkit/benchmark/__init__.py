"""Measure the speed and memory of a model on this machine; compare with limits and other programs."""
