"""Rows in, rows out, and the journal that lets a killed batch run go on.

`read` turns files, stdin and Hub datasets into rows; `rows` finds the text in a row; `batches` cuts rows
into batches by a token budget; `process` runs a function over them; `output` writes the result as JSONL,
resumable or to a stream. Nothing here knows what the function does.
"""
