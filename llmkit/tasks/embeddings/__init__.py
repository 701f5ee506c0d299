"""Vectors of texts: encoders as sentence-transformers describes them, and the task that embeds rows."""
