"""Rows of tables whose cells have types: Parquet files and Hub datasets.

Public: `open_parquet`, `open_hub`, `plain`.
"""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from llmkit.errors import InputError
from llmkit.records.rows import Row

_ROWS_AT_A_TIME = 256


def plain(value: Any) -> Any:
    """A cell as JSON can hold it.

    Dates and times become ISO 8601, NaN and infinities null (a table's way to say that there is nothing),
    bytes their UTF-8 text or, where they are none, base64; other kinds, such as decimals, their `str`.
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
    """Rows of a Parquet file, a few hundred in memory at a time, and how many there are.

    Raises:
        InputError: it is not a Parquet file, or two columns have one name; later, that it is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    def damaged(error: Exception) -> InputError:
        return InputError(f"{name}: not a readable Parquet file: {_one_line(error)}")

    try:
        file = pyarrow.parquet.ParquetFile(stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(error) from error
    columns = file.schema_arrow.names
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"{name}: two columns are named {twice[0]!r}; rename one")

    def rows() -> Iterator[Row]:
        index = 0
        try:
            with stream:
                for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME):
                    for data in batch.to_pylist():
                        yield Row(index, plain(data), f"{name}:row {index + 1}")
                        index += 1
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise damaged(error) from error

    return rows(), file.metadata.num_rows


def open_hub(source: str, usual: str | None = None) -> Iterator[Row]:
    """Rows of ``hf:dataset[:config][:split]``, streamed; a local dataset folder works too.

    One part after the dataset is its config if it has one of that name, else its split. Without a split
    the dataset must have only one, or one that is called as `usual` says.

    Raises:
        InputError: the dataset, config or split is not there or cannot be reached.
    """
    dataset, config, split = _parts(source)
    table = _load(source, dataset, config, split)
    if isinstance(table, Mapping):
        if usual in table:
            table = {usual: table[usual]}
        if len(table) != 1:
            some = next(iter(table), "")
            raise InputError(
                f"{source}: which split? It has {', '.join(table)};"
                f" write for example hf:{dataset}:{config or ''}:{some}"
            )
        table = next(iter(table.values()))
    if getattr(table, "features", None):
        # Images and sounds stay bytes: JSON has no place for decoded ones.
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
    """What `datasets` and the network say, in one line; they have many kinds of error for it."""
    reason = _one_line(error).partition(" Example of usage")[0]
    if "OfflineMode" in reason:
        reason += "; it is not in the cache, and HF_HUB_OFFLINE or --offline forbids to fetch it"
    elif isinstance(error, ConnectionError):
        reason += "; check the network, or read a local copy"
    return InputError(f"{source}: {reason}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
