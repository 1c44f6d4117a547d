"""What the stages of a run read and write: problems and targets once, a sample when it is finished, grades when known.

Every write is committed when the call returns. Every read is a stream, so that memory does not grow with a run.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tbrm_bench.files import FileLock
from tbrm_bench.records import Gold, Grade, GradedSample, Problem, Sample, SampleKey, Status
from tbrm_bench.store import schema
from tbrm_bench.store.owner import owned
from tbrm_bench.store.run_dir import DATABASE, RUN_JSON, WRITER_LOCK, has_samples, refuse_other_files
from tbrm_bench.store.run_file import RunFile, read_run_file, refuse_another_lock, write_run_file

PAGE_ROWS = 256
OPINION = "second/"  # graders of this prefix give opinions: no score is made of their verdicts


class RunStore:
    """One open run directory; use it as a context manager. `open_writer`, `open_grader` and `open_reader` make it."""

    def __init__(
        self, run_dir: Path, run: RunFile, connection: sqlite3.Connection, writer: FileLock | None = None
    ) -> None:
        """Hold what the three constructors below have opened."""
        self.run_dir = run_dir
        self.lock: Mapping[str, Any] = run.lock
        self.lock_hash = run.lock_hash
        self._about = run.about
        self._connection = connection
        self._writer = writer
        self._pass: dict[str, str] = {}  # what `state` records once this pass has a verdict
        self._is_noted = True

    @classmethod
    def open_writer(cls, run_dir: Path, *, lock: Mapping[str, Any], about: Mapping[str, Any]) -> "RunStore":
        """Start a run, or resume the one in this folder.

        Raises UserError if the folder holds a run under another lock or other files, or cannot be written to, RunFailed
        if another process writes to it or the disk is full.
        """
        with schema.database_errors(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            if not (run_dir / RUN_JSON).exists():
                refuse_other_files(run_dir)
            writer = FileLock(run_dir / WRITER_LOCK, f"{run_dir} is being written by")
            try:
                if not (run_dir / RUN_JSON).exists():
                    write_run_file(run_dir, RunFile(lock, about))
                run = read_run_file(run_dir)
                refuse_another_lock(run_dir, run.lock, lock)
                connection = owned(schema.connect_writer(run_dir / DATABASE), run_dir / DATABASE, run, is_writer=True)
                return cls(run_dir, run, connection, writer)
            except BaseException:
                writer.close()
                raise

    @classmethod
    def open_grader(cls, run_dir: Path) -> "RunStore":
        """Open an existing run for writing under the lock that it has."""
        run = read_run_file(run_dir)
        if not has_samples(run_dir):
            raise schema.nothing_yet(run_dir / DATABASE, "no")
        return cls.open_writer(run_dir, lock=run.lock, about=run.about)

    @classmethod
    def open_reader(cls, run_dir: Path) -> "RunStore":
        """Open an existing run for reading; it may be written to at the same time, or lie on a read-only medium."""
        run = read_run_file(run_dir)
        with schema.database_errors(run_dir):
            return cls(run_dir, run, owned(schema.connect_reader(run_dir / DATABASE), run_dir / DATABASE, run))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and let the next writer in."""
        self._connection.close()
        if self._writer is not None:
            self._writer.close()

    def put_problems(self, problems: Iterable[Problem], num_samples: Mapping[str, int]) -> None:
        """Store problems with their golds, and raise the target of each task to `num_samples` if it is lower."""
        with self._transaction() as connection:
            position = connection.execute("SELECT count(*) FROM problems").fetchone()[0]
            for problem in problems:
                row = schema.problem_row(problem, position)
                inserted = connection.execute(schema.INSERT_PROBLEM, row).rowcount
                if not inserted and self._stored_problem(problem) != problem:
                    raise schema.of_other_rows(self.run_dir / DATABASE, problem.key)
                position += inserted
            for task, number in num_samples.items():
                connection.execute(
                    "INSERT INTO targets SELECT ?, count(*), ? FROM targets WHERE true "
                    "ON CONFLICT DO UPDATE SET num_samples = max(num_samples, excluded.num_samples)",
                    (task, number),
                )

    def tasks(self) -> list[str]:
        """Return the tasks in the order in which they were first asked for."""
        return [task for (task,) in self._read("SELECT task FROM targets ORDER BY position")]

    def num_samples(self, task: str) -> int:
        """Return the target k of a task."""
        return int(next(self._read("SELECT num_samples FROM targets WHERE task = ?", (task,)))[0])

    def num_problems(self, task: str) -> int:
        """Return how many problems a task has in this run."""
        return int(next(self._read("SELECT count(*) FROM problems WHERE task = ?", (task,)))[0])

    def problems(self, task: str | None = None) -> Iterator[Problem]:
        """Yield the problems in their order."""
        for row in self._read(
            "SELECT task, problem_id, question, gold, cluster FROM problems WHERE ?1 IS NULL OR task = ?1 "
            "ORDER BY position",
            (task,),
        ):
            yield schema.to_problem(*row)

    def missing(self, task: str) -> Iterator[SampleKey]:
        """Yield the samples that the target asks for and the store lacks: problem by problem, index by index."""
        target = self.num_samples(task)
        names = [
            name for (name,) in self._read("SELECT problem_id FROM problems WHERE task = ? ORDER BY position", (task,))
        ]
        # One short query per problem: a cursor that stays open would keep the log from being folded into the file.
        for name in names:
            query = "SELECT sample_index FROM samples WHERE task = ? AND problem_id = ?"
            present = {index for (index,) in self._read(query, (task, name))}
            yield from (SampleKey(task, name, index) for index in range(target) if index not in present)

    def count_samples(self) -> int:
        """Return how many samples are stored."""
        return int(next(self._read("SELECT count(*) FROM samples"))[0])

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Store samples in one transaction. A stored sample is never changed: the same one again does nothing."""
        with self._transaction() as connection:
            for sample in samples:
                row = schema.sample_row(sample)
                if not connection.execute(schema.INSERT_SAMPLE, row).rowcount:
                    stored = next(self.samples_where("task = ? AND problem_id = ? AND sample_index = ?", sample.key))
                    assert stored == sample, f"{sample.key} was generated twice, with different outcomes"

    def samples(self, task: str | None = None) -> Iterator[Sample]:
        """Yield the stored samples, in the order in which they were stored."""
        return self.samples_where("?1 IS NULL OR task = ?1", (task,))

    def samples_where(self, condition: str, values: tuple[Any, ...]) -> Iterator[Sample]:
        """Yield the stored samples that meet an SQL condition on `samples`."""
        query = f"SELECT samples.rowid, {schema.SAMPLE_COLUMNS} FROM samples WHERE ({condition})"
        return (schema.to_sample(row[1:]) for row in self._pages(query, values))

    def ungraded(self, grader: str) -> Iterator[tuple[Sample, Gold]]:
        """Yield the samples without a grade of this grader, each with its gold; grades may be added meanwhile."""
        query = (
            f"SELECT samples.rowid, {schema.SAMPLE_COLUMNS}, gold FROM samples JOIN problems USING (task, problem_id) "
            "LEFT JOIN grades ON grades.task = samples.task AND grades.problem_id = samples.problem_id AND "
            "grades.sample_index = samples.sample_index AND grader = ? WHERE status IS NULL"
        )
        for row in self._pages(query, (grader,)):
            yield schema.to_sample(row[1:-1]), schema.to_gold(row[-1])

    def add_grades(self, grades: Iterable[tuple[SampleKey, Grade]], grader: str) -> None:
        """Store verdicts in one transaction; a verdict of the same grader on the same sample is replaced.

        A grader that gives more than an opinion is from then on the one that was used last.
        """
        with self._transaction() as connection:
            connection.executemany(schema.UPSERT_GRADE, (schema.grade_row(key, grade, grader) for key, grade in grades))
            if not grader.startswith(OPINION):
                if self._pass.get("grader") != grader:
                    self.start_pass(grader)
                self._note_pass(connection)
        self._is_noted = not grader.startswith(OPINION) or self._is_noted

    def start_pass(self, grader: str, *, protocol: str | None = None) -> None:
        """Set whose verdicts follow and which protocol asks for them; stored together with the first of them."""
        self._pass = {"grader": grader} | ({} if protocol is None else {"protocol": protocol})
        self._is_noted = False

    def end_pass(self) -> None:
        """Store which grader was used last also where it had nothing left to judge."""
        with self._transaction() as connection:
            self._note_pass(connection)
        self._is_noted = True

    def _note_pass(self, connection: sqlite3.Connection) -> None:
        if not self._is_noted:
            connection.executemany(schema.PUT_STATE, self._pass.items())

    def last_grader(self) -> str | None:
        """Return the grader that was used last, whose verdicts every score is made of; None if there was none."""
        return self._state().get("grader") or next(reversed(self._by_start()), None)

    @property
    def about(self) -> Mapping[str, Any]:
        """What describes the run, with the protocol that was used last: it may grade otherwise than the first one."""
        protocol = self._state().get("protocol")
        return {**self._about, **({} if protocol is None else {"protocol": protocol})}

    def graders(self) -> list[str]:
        """Return the graders with stored verdicts, the one that was used last at the end; opinions are left out."""
        last = self.last_grader()
        return sorted(self._by_start(), key=lambda name: name == last)

    def _by_start(self) -> list[str]:
        """Return the graders in the order of their latest new rows; replacing a verdict adds none."""
        query = "SELECT grader FROM grades WHERE grader NOT LIKE ? || '%' GROUP BY grader ORDER BY max(rowid)"
        return [name for (name,) in self._read(query, (OPINION,))]

    def _state(self) -> dict[str, str]:
        has_state = next(self._read(schema.HAS_STATE))[0]
        return dict(self._read("SELECT key, value FROM state")) if has_state else {}

    def grades(self, grader: str) -> Iterator[tuple[SampleKey, Grade]]:
        """Yield the stored verdicts of a grader."""
        query = "SELECT task, problem_id, sample_index, status, extracted, rule FROM grades WHERE grader = ?"
        for task, problem_id, sample_index, *grade in self._read(query, (grader,)):
            yield SampleKey(task, problem_id, sample_index), schema.to_grade(*grade)

    def graded(self, task: str, grader: str) -> Iterator[GradedSample]:
        """Yield every stored sample of a task with its verdict by this grader; no verdict is None. In order of keys."""
        query = (
            "SELECT problem_id, sample_index, status, extracted, finish_reason, length(token_ids) / 4, rule "
            "FROM samples LEFT JOIN (SELECT * FROM grades WHERE grader = ?) USING (task, problem_id, sample_index) "
            "WHERE task = ? ORDER BY problem_id, sample_index"
        )
        for problem_id, index, status, extracted, finish_reason, num_tokens, rule in self._read(query, (grader, task)):
            key, verdict = SampleKey(task, problem_id, index), Status(status) if status else None
            yield GradedSample(key, verdict, extracted, finish_reason, num_tokens, rule or "")

    def _stored_problem(self, problem: Problem) -> Problem | None:
        query = "SELECT task, problem_id, question, gold, cluster FROM problems WHERE task = ? AND problem_id = ?"
        return next((schema.to_problem(*row) for row in self._read(query, problem.key)), None)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        assert self._writer is not None, "the store was opened for reading"
        with schema.database_errors(self.run_dir):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with schema.database_errors(self.run_dir):
            yield from self._connection.execute(query, values)

    def _pages(self, query: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query whose first column is samples.rowid, in its order, without holding a cursor."""
        last = -1
        joint = "AND" if "WHERE" in query else "WHERE"
        while True:
            page = list(
                self._read(f"{query} {joint} samples.rowid > {last} ORDER BY samples.rowid LIMIT {PAGE_ROWS}", values)
            )
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = page[-1][0]
