"""HTML and XML: a tokenizer whose tokens are the source, and what is prose between them."""
