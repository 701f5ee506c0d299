"""Rows in object storage, by fsspec: `s3://`, `gs://`, `az://`, `hf://`, `memory://`."""
