"""The two Parquet tables: samples with their verdicts, and problems; the same rows always make the same bytes.

    run, problem_id, sample_index, question, gold, text, status, extracted, rule, grader, finish_reason,
    num_prompt_tokens, num_tokens, seed, token_ids, other_grades, exact          one row per sample
    task, problem_id, question, gold, cluster, exact                             one row per problem

Text is stored as it is. A tokenizer can emit lone surrogates, which UTF-8 cannot hold: those show as U+FFFD, and
`exact` (null nearly always) holds the original as JSON. Memory holds one row group, never a run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.provenance import file_sha256
from tbrm_bench.publish.layout import DataFile

GROUP_ROWS, GROUP_BYTES = 256, 4 << 20
SHARD_ROWS, SHARD_BYTES = 2048, 32 << 20
GRADE_FIELDS = ("grader", "status", "extracted", "rule")


def sample_schema() -> Any:
    """Return the columns of a sample."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    grade = pa.struct([(name, text) for name in GRADE_FIELDS])
    return pa.schema(
        [
            ("run", text),
            ("problem_id", text),
            ("sample_index", number),
            ("question", text),
            ("gold", pa.list_(text)),
            ("text", text),
            ("status", text),
            ("extracted", text),
            ("rule", text),
            ("grader", text),
            ("finish_reason", text),
            ("num_prompt_tokens", number),
            ("num_tokens", number),
            ("seed", pa.int64()),
            ("token_ids", pa.list_(pa.uint32())),
            ("other_grades", pa.list_(grade)),
            ("exact", text),
        ]
    )


def problem_schema() -> Any:
    """Return the columns of a problem; `gold` is the store's JSON."""
    import pyarrow as pa

    names = ("task", "problem_id", "question", "gold", "cluster", "exact")
    return pa.schema([(name, pa.string()) for name in names])


def clean(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the texts with lone surrogates replaced, and `exact` with the originals of those that had any."""
    shown: dict[str, Any] = {}
    exact: dict[str, str] = {}
    for name, text in texts.items():
        shown[name] = text
        if text is not None and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                exact[name] = text
                shown[name] = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    shown["exact"] = json.dumps(exact) if exact else None
    return shown


def restore(row: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `clean`."""
    exact = json.loads(row["exact"]) if row["exact"] else {}
    return {**row, **exact}


@dataclass(slots=True)
class ShardWriter:
    """Writes rows of samples to numbered files; one is full after SHARD_ROWS rows or SHARD_BYTES of content.

    Where a file ends depends on the samples before, never on verdicts: a new verdict changes its own file only, and
    more samples change the last file and add others.
    """

    folder: Path  # the repository's root on disk
    prefix: str  # in the repository, with a final slash
    files: list[DataFile] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _group_bytes: int = 0
    _shard_rows: int = 0
    _shard_bytes: int = 0
    _writer: Any = None

    def add(self, row: dict[str, Any], *, num_bytes: int) -> None:
        """Add one row; `token_ids` is a NumPy array, `num_bytes` the size of its text and tokens."""
        self._rows.append(row)
        self._group_bytes += num_bytes
        self._shard_rows += 1
        self._shard_bytes += num_bytes
        if len(self._rows) >= GROUP_ROWS or self._group_bytes >= GROUP_BYTES:
            self._write_group()
        if self._shard_rows >= SHARD_ROWS or self._shard_bytes >= SHARD_BYTES:
            self._close_shard()

    def close(self) -> tuple[DataFile, ...]:
        """Finish the last file and return them all."""
        if self._shard_rows:
            self._close_shard()
        return tuple(self.files)

    @property
    def _path(self) -> str:
        return f"{self.prefix}{len(self.files):05d}.parquet"

    def _write_group(self) -> None:
        if self._writer is None:
            file = self.folder / self._path
            file.parent.mkdir(parents=True, exist_ok=True)
            self._writer = open_writer(file, sample_schema())
        self._writer.write_table(_table(self._rows), row_group_size=len(self._rows))
        self._rows, self._group_bytes = [], 0

    def _close_shard(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()
        self.files.append(data_file(self.folder, self._path, self._shard_rows))
        self._writer, self._shard_rows, self._shard_bytes = None, 0, 0


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import numpy as np
    import pyarrow as pa

    schema = sample_schema()
    columns = {name: [row[name] for row in rows] for name in schema.names if name != "token_ids"}
    token_ids = [row["token_ids"] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in token_ids])]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(token_ids).astype(np.uint32)))
    arrays = [lists if f.name == "token_ids" else pa.array(columns[f.name], type=f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def open_writer(file: Path, schema: Any) -> Any:
    """Open a Parquet file for writing. Chunk borders follow the content, so that storage finds what it knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    options: dict[str, Any] = {"compression": "zstd", "write_page_index": True}
    if int(pa.__version__.split(".")[0]) >= 21:
        options["use_content_defined_chunking"] = True
    return pq.ParquetWriter(file, schema, **options)


def data_file(folder: Path, path: str, num_rows: int) -> DataFile:
    """Describe a file that was written."""
    return DataFile(path, num_rows, file_sha256(folder / path))


def read_batches(file: Path, schema: Any, *, where: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a file in batches; raises UserError unless it has exactly the schema's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            if not table.schema_arrow.equals(schema):
                found = ", ".join(table.schema_arrow.names)
                raise UserError(f"{where} is not a table of tbench push: its columns are {found}; push the run again")
            for batch in table.iter_batches(batch_size=GROUP_ROWS):
                yield batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{where} cannot be read as Parquet ({error}); push the run again") from error
