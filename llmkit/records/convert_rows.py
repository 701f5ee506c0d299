"""Convert a finished JSONL file to CSV or Parquet, with a few rows in memory at a time.

The result depends only on the rows, so a run that is killed here and resumed writes the same bytes.

Public: `CONVERTERS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llmkit.records.strict_json import dumps

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_A_TIME = 1000
_BYTES_AT_A_TIME = 16 << 20
_QUOTED = frozenset(',"\r\n')


def to_csv(source: Path, target: IO[bytes]) -> None:
    """Write CSV (RFC 4180) in UTF-8: a header with all columns in their order of appearance, then the rows.

    A text does not change; null and a missing column are empty; other values are JSON. Half a surrogate pair
    becomes a question mark.
    """
    columns: dict[str, None] = {}
    for rows in _chunks(source):
        for row in rows:
            columns.update(dict.fromkeys(row))
    if not columns:
        return
    target.write(_line(columns))
    for rows in _chunks(source):
        for row in rows:
            target.write(_line(_cell(row.get(column)) for column in columns))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value)


def _line(cells: Iterable[str]) -> bytes:
    quoted = [f'"{cell.replace(_Q, _Q + _Q)}"' if _QUOTED.intersection(cell) else cell for cell in cells]
    # An empty line would not be read as a row.
    text = ",".join(quoted) or '""'
    return f"{text}\n".encode("utf-8", "replace")


_Q = '"'


def to_parquet(source: Path, target: IO[bytes]) -> None:
    """Write Parquet. A column with values of several types becomes JSON text.

    A whole number in a column of fractions becomes a fraction if that is exact; an object gains the names
    of all objects of its column, as null. Half a surrogate pair becomes a question mark.
    """
    types: dict[str, Any] = {}  # type of each column; None for a column of JSON texts
    for rows in _chunks(source):
        for column in dict.fromkeys(name for row in rows for name in row):
            types[column] = _widened(types, column, [row.get(column) for row in rows])
    while (changed := _write_parquet(source, target, types)) is not None:
        types[changed] = None
        target.seek(0)
        target.truncate()


def _widened(types: dict[str, Any], column: str, values: list[Any]) -> Any:
    """Return the type of a column after adding these values."""
    import pyarrow

    known = types.get(column, pyarrow.null())
    if known is None:
        return None
    try:
        new = pyarrow.infer_type([_encodable(value) for value in values])
        fields = [pyarrow.schema([pyarrow.field(column, kind)]) for kind in (known, new)]
        found = pyarrow.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pyarrow.ArrowException, OverflowError, ValueError, TypeError):
        return None
    return None if _has_empty_object(found) else found


def _has_empty_object(kind: pyarrow.DataType) -> bool:
    import pyarrow

    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return (pyarrow.types.is_struct(kind) and not inner) or any(map(_has_empty_object, inner))


def _write_parquet(source: Path, target: IO[bytes], types: dict[str, Any]) -> str | None:
    """Write all rows; return a column whose values do not fit its type, or None."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    # A column without values has no type of its own.
    kinds = {
        name: text if kind is None or pyarrow.types.is_null(kind) else kind for name, kind in types.items()
    }
    schema = pyarrow.schema([pyarrow.field(str(_encodable(name)), kind) for name, kind in kinds.items()])
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for rows in _chunks(source):
            arrays = []
            for name, kind in kinds.items():
                values = [_encodable(row.get(name)) for row in rows]
                if types[name] is None:
                    values = [value if isinstance(value, str | None) else dumps(value) for value in values]
                try:
                    arrays.append(pyarrow.array(values, kind))
                except (pyarrow.ArrowException, OverflowError, ValueError, TypeError):
                    return name
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return None


def _encodable(value: Any) -> Any:
    """Return a value with a question mark for each half of a surrogate pair, which UTF-8 cannot encode."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return value


def _chunks(source: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a JSONL file in lists that are bounded in number and bytes."""
    rows: list[dict[str, Any]] = []
    size = 0
    with source.open("rb") as file:
        for line in file:
            rows.append(json.loads(line))
            size += len(line)
            if len(rows) >= _ROWS_AT_A_TIME or size >= _BYTES_AT_A_TIME:
                yield rows
                rows, size = [], 0
    if rows:
        yield rows


CONVERTERS: dict[str, Callable[[Path, IO[bytes]], None]] = {".csv": to_csv, ".parquet": to_parquet}
"""Functions by the suffix of the file that they write: a JSONL file, and a binary file that can seek."""
