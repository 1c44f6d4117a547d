"""The tables of samples.sqlite, and how records become rows.

Text is stored as UTF-8 that may hold NUL and lone surrogates (a tokenizer can emit both), so that what is read back is
what was written, byte for byte. Token ids are little-endian unsigned 32-bit integers in one BLOB.
"""

import array
import contextlib
import errno
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tbrm_bench.disk import disk_errors
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.records import Gold, Grade, Problem, ProblemKey, Sample, SampleKey, Status
from tbrm_bench.store.run_dir import DATABASE, has_log
from tbrm_bench.store.run_file import SCHEMA

MAGIC = b"SQLite format 3\0"
# SQLite's own names; an I/O error is what a quota or a limit on the file size looks like to it.
FULL_CODES = ("SQLITE_FULL", "SQLITE_IOERR")
READ_ONLY_CODES = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
BROKEN_CODES = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
BUSY_CODES = ("SQLITE_BUSY", "SQLITE_LOCKED")
KEPT = "every sample stored so far is kept"

# Ordinary tables: WITHOUT ROWID keeps whole rows in the inner pages of the tree, which long completions would bloat.
TABLES = """
CREATE TABLE IF NOT EXISTS targets (
    task TEXT PRIMARY KEY, position INTEGER NOT NULL, num_samples INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS problems (
    task TEXT NOT NULL, problem_id TEXT NOT NULL, position INTEGER NOT NULL, question TEXT NOT NULL, gold TEXT NOT NULL,
    cluster TEXT NOT NULL, PRIMARY KEY (task, problem_id));
CREATE TABLE IF NOT EXISTS samples (
    task TEXT NOT NULL, problem_id TEXT NOT NULL, sample_index INTEGER NOT NULL, seed INTEGER NOT NULL,
    text TEXT NOT NULL, token_ids BLOB NOT NULL, finish_reason TEXT NOT NULL, num_prompt_tokens INTEGER NOT NULL,
    PRIMARY KEY (task, problem_id, sample_index));
CREATE TABLE IF NOT EXISTS grades (
    task TEXT NOT NULL, problem_id TEXT NOT NULL, sample_index INTEGER NOT NULL, grader TEXT NOT NULL,
    status TEXT NOT NULL, extracted TEXT, rule TEXT NOT NULL,
    PRIMARY KEY (task, problem_id, sample_index, grader));
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

INSERT_PROBLEM = (
    "INSERT INTO problems VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT)) ON CONFLICT DO NOTHING"
)
INSERT_SAMPLE = "INSERT INTO samples VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?) ON CONFLICT DO NOTHING"
UPSERT_GRADE = (
    "INSERT INTO grades VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT), ?) ON CONFLICT DO UPDATE SET "
    "status = excluded.status, extracted = excluded.extracted, rule = excluded.rule"
)
# Runs of older versions have no table `state` until they are written to again.
HAS_STATE = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'state'"
PUT_STATE = "INSERT INTO state VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
SAMPLE_COLUMNS = (
    "samples.task, samples.problem_id, samples.sample_index, samples.seed, samples.text, samples.token_ids, "
    "samples.finish_reason, samples.num_prompt_tokens"
)


@contextlib.contextmanager
def database_errors(run_dir: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into one line; what is stored stays stored."""
    with disk_errors(run_dir, kept=KEPT):
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(FULL_CODES):
                raise OSError(errno.ENOSPC, str(error)) from error
            if code.startswith(READ_ONLY_CODES):
                raise OSError(errno.EROFS, str(error)) from error
            if code.startswith(BROKEN_CODES):
                raise damaged(run_dir / DATABASE, str(error)) from error
            if code.startswith(BUSY_CODES):
                raise RunFailed(f"{run_dir / DATABASE} is held by another program ({error}); close it there") from error
            raise


def damaged(file: Path, reason: str) -> UserError:
    """Return what to say of a database that cannot be right."""
    return UserError(f"{file} is damaged ({reason}); restore it from a copy, or start in another folder")


def connect_writer(file: Path) -> sqlite3.Connection:
    """Open or create the file for its one writer."""
    _check_size(file)
    with _closed_on_error(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing that was committed. A power cut may lose the last transactions and damages
        # nothing; what it loses is generated again, the same. FULL would sync the disk once per sample.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        _check_version(file, _version(connection) or SCHEMA)
        if not connection.execute(HAS_STATE).fetchone()[0]:  # new, or of an older version
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
        return _configure(connection)


def connect_reader(file: Path) -> sqlite3.Connection:
    """Open an existing file for reading, beside a writer or on a medium that cannot be written to."""
    if not file.is_file():
        raise nothing_yet(file, "no")
    _check_size(file)
    try:
        return _connect_reader(file, "mode=ro")
    except sqlite3.OperationalError as error:
        if not _cannot_write(error):
            raise
        # In a read-only folder the shared memory of the WAL cannot be made. Without a WAL nothing is being written.
        if not has_log(file):
            return _connect_reader(file, "immutable=1")
    try:
        return _connect_reader(file, "mode=rw")  # rolls back what a writer was killed in the middle of
    except sqlite3.OperationalError as error:
        if not _cannot_write(error):
            raise
        raise UserError(
            f"{file.parent} cannot be written to, and a killed writer left a log beside {file.name} that has to be "
            "folded in; copy the folder to a place where you can write"
        ) from error


def _cannot_write(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(READ_ONLY_CODES)


def _check_size(file: Path) -> None:
    """SQLite reads zeros for the end of a file that lacks less than a page, and takes a short one for a new one."""
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as stream:
        header = stream.read(100)
    # Bytes 16 and 28 of https://www.sqlite.org/fileformat.html; a page size of 65536 is written as 1.
    page_size, num_pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
    size, wanted = file.stat().st_size, max(512, (65536 if page_size == 1 else page_size) * num_pages)
    if header.startswith(MAGIC[: len(header)]) and size < wanted and not has_log(file):
        raise damaged(file, f"it has {size} of {wanted} bytes")


def nothing_yet(file: Path, which: str) -> UserError:
    """Return what is wrong with a run that has no samples to read."""
    return UserError(f"{file.parent} holds {which} {file.name}: nothing was generated yet; start the run first")


def of_other_rows(file: Path, key: ProblemKey) -> UserError:
    """Return what is wrong with a database whose problem of this name is not the one that its lock stands for."""
    return UserError(
        f"{file} holds another problem {'/'.join(key)} than the task's rows: it is of another run; put back the file "
        "that belongs here, or move it aside to generate anew"
    )


def _connect_reader(file: Path, mode: str) -> sqlite3.Connection:
    uri = f"{file.resolve().as_uri()}?{mode}"
    with _closed_on_error(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        version = _version(connection)
        if not version:  # its writer ended before the tables were made
            raise nothing_yet(file, "an empty")
        _check_version(file, version)
        return _configure(connection)


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _configure(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
    return connection


def _check_version(file: Path, version: int) -> None:
    if version != SCHEMA:
        raise UserError(f"{file} has schema {version}, this version reads {SCHEMA}; use the version that wrote it")


def problem_row(problem: Problem, position: int) -> tuple[Any, ...]:
    """Return the row of `problems`."""
    gold = json.dumps(problem.gold.values(), ensure_ascii=False)  # escapes would join two lone surrogates
    return (*problem.key, position, encode(problem.question), encode(gold), encode(problem.cluster))


def to_problem(task: str, problem_id: str, question: str, gold: str, cluster: str) -> Problem:
    """Undo `problem_row`."""
    return Problem(key=ProblemKey(task, problem_id), question=question, gold=to_gold(gold), cluster=cluster)


def to_gold(text: str) -> Gold:
    """Read a gold as `problem_row` wrote it."""
    values = json.loads(text)
    alternatives = tuple(map(tuple, values.get("alternatives", ())))
    return Gold(**{**values, "answers": tuple(values["answers"]), "alternatives": alternatives})


def sample_row(sample: Sample) -> tuple[Any, ...]:
    """Return the row of `samples`."""
    token_ids = array.array("I", sample.token_ids)
    if sys.byteorder == "big":
        token_ids.byteswap()
    text = encode(sample.text)
    return (*sample.key, sample.seed, text, token_ids.tobytes(), sample.finish_reason, sample.num_prompt_tokens)


def to_sample(row: tuple[Any, ...]) -> Sample:
    """Undo `sample_row`."""
    task, problem_id, sample_index, seed, text, blob, finish_reason, num_prompt_tokens = row
    token_ids = array.array("I", blob)
    if sys.byteorder == "big":
        token_ids.byteswap()
    key = SampleKey(task, problem_id, sample_index)
    return Sample(key, seed, text, tuple(token_ids), finish_reason, num_prompt_tokens)


def grade_row(key: SampleKey, grade: Grade, grader: str) -> tuple[Any, ...]:
    """Return the row of `grades`."""
    extracted = None if grade.extracted is None else encode(grade.extracted)
    return (*key, grader, grade.status.value, extracted, grade.rule)


def to_grade(status: str, extracted: str | None, rule: str) -> Grade:
    """Undo `grade_row`."""
    return Grade(Status(status), extracted, rule)


def encode(text: str) -> bytes:
    """Return the bytes that are stored for a text; the statements cast them back to TEXT."""
    return text.encode("utf-8", "surrogatepass")
