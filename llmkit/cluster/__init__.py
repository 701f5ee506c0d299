"""Batches of rows on the machines of a cluster, as Ray actors.

The driver reads rows, plans batches and writes results, as on one machine (`records.processing.pipeline`).
Workers, Ray actors on any node, hold the model and compute. `ClusterEngine` is an `Engine` whose `generate`
runs on a worker, so text tasks do not depend on this package.
"""
