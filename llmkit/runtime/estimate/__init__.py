"""The memory, arithmetic and time of a model, from its config alone: no weight is read."""
