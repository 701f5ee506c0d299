"""HTML and XML: a tokenizer whose tokens are the source, and the prose between them."""
