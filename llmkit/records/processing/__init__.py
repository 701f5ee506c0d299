"""Parts of `records.process`: one run over rows, and batches that run at the same time."""
