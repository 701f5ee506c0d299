"""Rows of typed tables: Parquet files and Hub datasets.

Public: `open_parquet`, `open_hub`, `plain`.
"""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from llmkit.errors import InputError, one_line
from llmkit.records.rows import Row

_ROWS_AT_A_TIME = 256
# Bytes of the rows of a Parquet file in memory at a time, by the sizes in the file's metadata.
_BYTES_AT_A_TIME = 32 << 20


def plain(value: Any) -> Any:
    """Convert a cell to a JSON value.

    Dates and times become ISO 8601. NaN and infinities become null, because tables use them for missing
    values. Bytes become UTF-8 text, or base64 if they are not UTF-8. Other types, such as decimals, become
    their `str`.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value)


def open_parquet(stream: IO[bytes], name: str) -> tuple[Iterator[Row], int]:
    """Return the rows of a Parquet file, at most a few hundred in memory at a time, and their number.

    Raises:
        InputError: the file is not Parquet, or two columns have one name; while reading: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    def damaged(error: Exception) -> InputError:
        return InputError(f"{name}: not a readable Parquet file: {one_line(error)}")

    try:
        file = pyarrow.parquet.ParquetFile(stream)
        columns = file.schema_arrow.names
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: the name of a column is not UTF-8; rename the column") from error
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise damaged(error) from error
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{name}: two columns are named {twice[0]!r}; rename one")

    def rows() -> Iterator[Row]:
        index = 0
        try:
            with stream:
                for batch in file.iter_batches(batch_size=_rows_at_a_time(file.metadata)):
                    # A value that is stored once for many rows is larger in memory than in the file.
                    step = 1 if batch.nbytes > _BYTES_AT_A_TIME else max(1, len(batch))
                    for start in range(0, len(batch), step):
                        for data in batch.slice(start, step).to_pylist():
                            yield Row(index, plain(data), f"{name}:row {index + 1}")
                            index += 1
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            raise damaged(error) from error

    return rows(), file.metadata.num_rows


def _rows_at_a_time(metadata: Any) -> int:
    """Return the number of rows to read at once: fewer if rows are long."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0.0)
    return max(1, min(_ROWS_AT_A_TIME, int(_BYTES_AT_A_TIME / max(longest, 1.0))))


def open_hub(source: str, usual: str | None = None) -> Iterator[Row]:
    """Stream the rows of ``hf:dataset[:config][:split]``; a local dataset folder works as well.

    A single part after the dataset names a config if the dataset has it, else a split. Without a split
    the dataset must have only one, or one with the name `usual`.

    Raises:
        InputError: the dataset, config or split does not exist or cannot be reached.
    """
    dataset, config, split = _parts(source)
    table = _load(source, dataset, config, split)
    if isinstance(table, Mapping):
        if usual in table:
            table = {usual: table[usual]}
        if len(table) != 1:
            some = next(iter(table), "")
            raise InputError(
                f"{source}: give a split; it has {', '.join(table)};"
                f" write for example hf:{dataset}:{config or ''}:{some}"
            )
        table = next(iter(table.values()))
    if getattr(table, "features", None):
        # Images and audio stay bytes: JSON cannot represent decoded ones.
        table = table.decode(False)
    return _hub_rows(source, table)


def _hub_rows(source: str, table: Any) -> Iterator[Row]:
    try:
        for index, data in enumerate(table):
            yield Row(index, plain(data), f"{source}:row {index + 1}")
    except Exception as error:
        raise _unreadable(source, error) from error


def _parts(source: str) -> tuple[str, str | None, str | None]:
    dataset, *more = source.removeprefix("hf:").split(":")
    if not dataset or len(more) > 2:
        raise InputError(f"{source}: write hf:DATASET, hf:DATASET:SPLIT or hf:DATASET:CONFIG:SPLIT")
    config, split = (*more, "", "")[:2]
    return dataset, config or None, split or None


def _load(source: str, dataset: str, config: str | None, split: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(dataset, config, split=split, streaming=True)
    except Exception as error:
        if split is not None or config is None or "BuilderConfig" not in str(error):
            raise _unreadable(source, error) from error
    try:
        return datasets.load_dataset(dataset, split=config, streaming=True)
    except Exception as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: Exception) -> InputError:
    """Return an error of `datasets` or of the network as one line."""
    reason = one_line(error, 1000).partition(" Example of usage")[0]
    if "OfflineMode" in reason:
        reason += "; it is not in the cache, and HF_HUB_OFFLINE or offline=True forbids the download"
    elif isinstance(error, ConnectionError):
        reason += "; check the network, or read a local copy"
    return InputError(f"{source}: {reason}")
