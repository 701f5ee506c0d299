"""Rows in, rows out, and the journal with which a killed batch run resumes.

`read` turns files, stdin and Hub datasets into rows; `rows` finds the text in a row; `batches` cuts rows
into batches by a token budget; `process` runs a function over them; `output` writes the result as JSONL,
to a resumable file or to a stream. This package does not depend on what the function does.
"""
