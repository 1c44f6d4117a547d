"""A run directory as the files of a repository, in a temporary folder; the run is read and nothing of it is written.

Samples go by sample index, then by problem: raising k adds rows at the end. One read transaction covers everything, so
that a run that is being written to gives one consistent state.
"""

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import read_text
from tbrm_bench.hub import Upload
from tbrm_bench.hub.client import holds_token
from tbrm_bench.publish.layout import (
    MANIFEST,
    PROBLEMS,
    DataFile,
    Manifest,
    TaskFiles,
    data_folder,
    run_folder,
    run_name,
)
from tbrm_bench.publish.tables import GRADE_FIELDS, ShardWriter, clean, data_file, open_writer, problem_schema
from tbrm_bench.records import RunResult
from tbrm_bench.run.results import current_results
from tbrm_bench.store import schema
from tbrm_bench.store.run_dir import DATABASE, RESULTS, RUN_JSON
from tbrm_bench.store.run_file import RunFile, read_run_file


@dataclass(frozen=True, slots=True)
class StagedRun:
    """A run ready to be pushed; `uploads` are its files in the repository, the card aside."""

    name: str
    run: RunFile
    result: RunResult
    manifest: Manifest
    uploads: tuple[Upload, ...] = field(repr=False)


@contextmanager
def staged_run(run_dir: Path) -> Iterator[StagedRun]:
    """Yield the run as files; they are gone afterwards.

    Raises UserError if the folder is not a run, or its results.json is missing or not what the store says, or a file
    holds something that looks like a token.
    """
    run = read_run_file(run_dir)
    text, result = current_results(run_dir)
    name = run_name(run_dir)
    verbatim = {RUN_JSON: read_text(run_dir / RUN_JSON), RESULTS: text}
    for file, content in verbatim.items():
        if holds_token(content):
            raise UserError(f"{run_dir / file} holds what looks like a token; take it out of `about` before pushing")
    with tempfile.TemporaryDirectory(prefix="tbench-push-") as temporary, schema.database_errors(Path(temporary)):
        folder = Path(temporary)
        manifest = _export(run_dir, folder, name, run, result)
        shards = [shard for task in manifest.tasks.values() for shard in task.shards]
        uploads = [Upload(shard.path, folder / shard.path) for shard in (*shards, manifest.problems)]
        small = {**verbatim, MANIFEST: manifest.to_json()}
        uploads += [Upload(run_folder(name) + file, content.encode()) for file, content in small.items()]
        yield StagedRun(name, run, result, manifest, tuple(uploads))


def _export(run_dir: Path, folder: Path, name: str, run: RunFile, result: RunResult) -> Manifest:
    with closing(schema.connect_reader(run_dir / DATABASE)) as connection:
        connection.execute("BEGIN")
        query = "SELECT grader FROM grades GROUP BY grader ORDER BY grader = ?, max(rowid)"  # the one shown at the end
        graders = tuple(grader for (grader,) in connection.execute(query, (result.grader,)))
        targets = connection.execute("SELECT task, num_samples FROM targets ORDER BY position").fetchall()
        if (scored := [(task.task, task.num_samples) for task in result.tasks]) != targets:
            raise RunFailed(
                f"{run_dir} grew while it was read, from {scored} to {targets}; push it when it is complete"
            )
        problems = _export_problems(connection, folder, run_folder(name) + PROBLEMS)
        tasks = {
            task: _TaskExport(connection, folder, name, task, result.grader).run(num_samples)
            for task, num_samples in targets
        }
    return Manifest(name, run.lock_hash, result.grader, graders, problems, tasks)


def _export_problems(connection: sqlite3.Connection, folder: Path, path: str) -> DataFile:
    import pyarrow as pa

    (folder / path).parent.mkdir(parents=True)
    columns, num_rows = problem_schema(), 0
    rows = connection.execute("SELECT task, problem_id, question, gold, cluster FROM problems ORDER BY position")
    with open_writer(folder / path, columns) as writer:
        while page := rows.fetchmany(256):
            cleaned = [clean(dict(zip(columns.names[:-1], row, strict=True))) for row in page]
            writer.write_table(pa.Table.from_pylist(cleaned, schema=columns))
            num_rows += len(page)
    return data_file(folder, path, num_rows)


@dataclass(frozen=True, slots=True)
class _TaskExport:
    """Writes the samples of one task."""

    connection: sqlite3.Connection
    folder: Path
    name: str
    task: str
    grader: str

    def run(self, num_samples: int) -> TaskFiles:
        """Write every stored sample, and digest what was drawn under each index."""
        problems = self.connection.execute(
            "SELECT problem_id, question, gold FROM problems WHERE task = ? ORDER BY position", (self.task,)
        ).fetchall()
        shown = [(problem_id, clean({"q": question})["q"], _answers(gold)) for problem_id, question, gold in problems]
        writer = ShardWriter(self.folder, data_folder(self.task, self.name))
        draws = []
        for index in range(num_samples):
            digest, count = hashlib.blake2b(digest_size=8), 0
            for problem in shown:
                count += self._add(writer, digest, problem, index)
            draws.append(f"{count}:{digest.hexdigest()}")
        return TaskFiles(num_samples, tuple(draws), writer.close())

    def _add(self, writer: ShardWriter, digest: Any, problem: tuple[str, str, list[str]], index: int) -> int:
        import numpy as np

        problem_id, question, gold = problem
        key = (self.task, problem_id, index)
        found = self.connection.execute(
            "SELECT seed, text, token_ids, finish_reason, num_prompt_tokens FROM samples "
            "WHERE task = ? AND problem_id = ? AND sample_index = ?",
            key,
        ).fetchone()
        if found is None:
            return 0
        seed, text, token_ids, finish_reason, num_prompt_tokens = found
        for part in (
            schema.encode(problem_id),
            str(seed).encode(),
            schema.encode(text),
            token_ids,
            finish_reason.encode(),
        ):
            digest.update(len(part).to_bytes(8, "little") + part)
        grade, others = self._grades(key)
        row = {
            "run": self.name,
            "problem_id": problem_id,
            "sample_index": index,
            "question": question,
            "gold": gold,
            "status": grade["status"],
            "rule": grade["rule"],
            "grader": grade["grader"],
            "finish_reason": finish_reason,
            "num_prompt_tokens": num_prompt_tokens,
            "num_tokens": len(token_ids) // 4,
            "seed": seed,
            "token_ids": np.frombuffer(token_ids, "<u4"),
            "other_grades": others,
            **clean({"text": text, "extracted": grade["extracted"]}),
        }
        writer.add(row, num_bytes=len(text) + len(token_ids))
        return 1

    def _grades(self, key: tuple[str, str, int]) -> tuple[dict[str, str | None], list[dict[str, str | None]]]:
        """Return the verdict that the results are made of, nulls if there is none, and those of other graders."""
        rows = self.connection.execute(
            "SELECT grader, status, extracted, rule FROM grades "
            "WHERE task = ? AND problem_id = ? AND sample_index = ? ORDER BY rowid",
            key,
        )
        grades = [dict(zip(GRADE_FIELDS, row, strict=True)) for row in rows]
        shown = next((grade for grade in grades if grade["grader"] == self.grader), dict.fromkeys(GRADE_FIELDS))
        # A verdict of an earlier grader: its text goes as JSON where UTF-8 cannot hold it.
        others = [grade | _escaped(grade["extracted"]) for grade in grades if grade["grader"] != self.grader]
        return shown, others


def _answers(gold: str) -> list[str]:
    return [clean({"a": answer})["a"] for answer in json.loads(gold)["answers"]]


def _escaped(extracted: str | None) -> dict[str, str | None]:
    """Return the field as JSON text, so that any string fits into it."""
    return {"extracted": None if extracted is None else json.dumps(extracted)}
