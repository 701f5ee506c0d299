"""Read rows, write rows, and keep the journal that lets a killed batch run resume.

`read` turns files, stdin and Hub datasets into rows; `rows` finds the text in a row; `batches` cuts rows
into batches by a token budget; `process` runs a function over them; `output` writes the result as JSONL,
to a resumable file or to a stream. This package does not depend on the function.
"""
