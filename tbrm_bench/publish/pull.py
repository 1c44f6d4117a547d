"""`tbench pull`: a pushed run as a run directory again, whole or absent.

Everything is built in a hidden folder beside the wanted one, checked against the manifest, and put in place by one
rename. What was downloaded stays in the client's cache, so that the same command resumes after an interruption.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.files import check_free, new_folder
from tbrm_bench.hub import Backoff, Head, HubRepo
from tbrm_bench.provenance import file_sha256
from tbrm_bench.publish.layout import (
    MANIFEST,
    RUN_FILES,
    DataFile,
    Manifest,
    read_manifest,
    run_folder,
    runs_in,
)
from tbrm_bench.publish.tables import problem_schema, read_batches, restore, sample_schema
from tbrm_bench.records import Grade, Problem, Sample, SampleKey, Status
from tbrm_bench.run.results import read_results
from tbrm_bench.store import RunStore, schema
from tbrm_bench.store.run_dir import RESULTS, RUN_JSON
from tbrm_bench.store.run_file import read_run_file


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled, and from which commit."""

    name: str
    commit: str
    num_samples: int


def pull_run(
    repo: str,
    run_dir: Path,
    *,
    name: str | None = None,
    revision: str | None = None,
    backoff: Backoff | None = None,
) -> Pulled:
    """Bring a pushed run into `run_dir`, which must not exist or be empty; `name` is needed if there are several runs.

    Raises UserError for a repository, name or folder that is wrong or a run of another schema version,
    MissingPrerequisite without a connection, RunFailed for files that are not the ones that were pushed or a full disk.
    """
    check_free(run_dir)
    remote = HubRepo(repo, repo_type="dataset", branch=revision, backoff=backoff)
    head = remote.head()
    if head is None:
        raise UserError(
            f"{repo!r} is not a dataset on the Hub, or is private: check the name, or log in with `hf auth login`"
        )
    chosen = _choose(repo, runs_in(head.files), name)
    folder = remote.read(head, [run_folder(chosen) + file for file in RUN_FILES])
    manifest = read_manifest(folder / run_folder(chosen) / MANIFEST, where=f"{repo}: {run_folder(chosen)}{MANIFEST}")
    folder = remote.read(head, _paths(manifest, head, repo))
    with new_folder(run_dir) as draft, schema.database_errors(run_dir):
        num_samples = _rebuild(folder, draft, manifest, repo)
    return Pulled(chosen, head.commit, num_samples)


def _choose(repo: str, names: list[str], name: str | None) -> str:
    if not names:
        raise UserError(f"{repo} holds no run; it was not written by `tbench push`")
    if name is None:
        if len(names) > 1:
            raise UserError(f"{repo} holds {len(names)} runs; choose one with --run: {', '.join(names[:10])}")
        return names[0]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1) or names[:1]
        raise UserError(f"{repo} holds no run {name!r}; did you mean {near[0]!r}?")
    return name


def _paths(manifest: Manifest, head: Head, repo: str) -> list[str]:
    """Return every file of the run; RunFailed if the repository lacks one."""
    data = [manifest.problems, *(shard for task in manifest.tasks.values() for shard in task.shards)]
    paths = [*(run_folder(manifest.name) + file for file in RUN_FILES), *(file.path for file in data)]
    if missing := [path for path in paths if path not in head.files]:
        raise RunFailed(f"{repo} lacks {missing[0]}, which belongs to {manifest.name}; push the run again")
    return paths


def _rebuild(folder: Path, draft: Path, manifest: Manifest, repo: str) -> int:
    """Write the run directory; return the number of samples."""
    source = folder / run_folder(manifest.name)
    (draft / RUN_JSON).write_bytes((source / RUN_JSON).read_bytes())
    run = read_run_file(draft)
    if run.lock_hash != manifest.lock_hash:
        raise UserError(
            f"{repo}: the lock of {manifest.name} is {run.lock_hash[:12]}, its manifest has {manifest.lock_hash[:12]}; "
            "push the run again"
        )
    with RunStore.open_writer(draft, lock=run.lock, about=run.about) as store:
        _put_problems(store, folder, manifest, repo)
        num_samples = sum(_put_samples(store, task, folder, manifest, repo) for task in manifest.tasks)
        (draft / RESULTS).write_bytes((source / RESULTS).read_bytes())
        protocol = read_results(draft).about.get("protocol")
        store.start_pass(manifest.grader, protocol=protocol if isinstance(protocol, str) else None)
        store.end_pass()
    return num_samples


def _rows(folder: Path, file: DataFile, columns: Any, repo: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a file that is the one in the manifest."""
    if file_sha256(folder / file.path) != file.sha256:
        raise RunFailed(f"{repo}: {file.path} is not the file that was pushed; push the run again")
    for rows in read_batches(folder / file.path, columns, where=f"{repo}: {file.path}"):
        yield [restore(row) for row in rows]


def _put_problems(store: RunStore, folder: Path, manifest: Manifest, repo: str) -> None:
    problems: dict[str, list[Problem]] = {task: [] for task in manifest.tasks}
    for rows in _rows(folder, manifest.problems, problem_schema(), repo):
        for row in rows:
            problem = schema.to_problem(row["task"], row["problem_id"], row["question"], row["gold"], row["cluster"])
            problems[problem.key.task].append(problem)
    for task, files in manifest.tasks.items():
        store.put_problems(problems[task], {task: files.num_samples})


def _put_samples(store: RunStore, task: str, folder: Path, manifest: Manifest, repo: str) -> int:
    num_samples = 0
    for shard in manifest.tasks[task].shards:
        for rows in _rows(folder, shard, sample_schema(), repo):
            store.add_samples(_sample(task, row) for row in rows)
            num_samples += len(rows)
            for grader in manifest.graders:
                grades = [(_key(task, row), grade) for row in rows if (grade := _grade(row, grader))]
                if grades:
                    store.add_grades(grades, grader)
    expected = sum(int(draw.partition(":")[0]) for draw in manifest.tasks[task].draws)
    if num_samples != expected or num_samples != sum(1 for _ in store.graded(task, manifest.grader)):
        raise RunFailed(f"{repo}: {num_samples} samples of {task} where {expected} were pushed; push the run again")
    return num_samples


def _key(task: str, row: dict[str, Any]) -> SampleKey:
    return SampleKey(task, row["problem_id"], row["sample_index"])


def _sample(task: str, row: dict[str, Any]) -> Sample:
    return Sample(
        key=_key(task, row),
        seed=row["seed"],
        text=row["text"],
        token_ids=tuple(row["token_ids"]),
        finish_reason=row["finish_reason"],
        num_prompt_tokens=row["num_prompt_tokens"],
    )


def _grade(row: dict[str, Any], grader: str) -> Grade | None:
    """Return the verdict of a grader on a row, None if it gave none."""
    if row["grader"] == grader:
        return Grade(Status(row["status"]), row["extracted"], row["rule"])
    for other in row["other_grades"]:
        if other["grader"] == grader:
            extracted = None if other["extracted"] is None else json.loads(other["extracted"])
            return Grade(Status(other["status"]), extracted, other["rule"])
    return None
