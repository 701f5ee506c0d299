"""GGUF, the file format of llama.cpp: read it into transformers' parts, and write it from them."""
