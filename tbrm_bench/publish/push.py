"""`tbench push`: one commit that brings a run to a dataset repository, or nothing if it is there already.

The loop is `hub.commit_loop`: a push that sees another one's commit makes the card of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.hub import Backoff, Head, HubRepo, Upload, check_visibility, push_changes
from tbrm_bench.hub.client import holds_token, require_token
from tbrm_bench.hub.repo import checked_repo_id
from tbrm_bench.publish.card import CardRun, card
from tbrm_bench.publish.export import StagedRun, staged_run
from tbrm_bench.publish.layout import CARD, MANIFEST, Manifest, belongs_to, read_manifest, run_folder, runs_in
from tbrm_bench.run.results import read_results
from tbrm_bench.store.run_dir import RESULTS, RUN_JSON
from tbrm_bench.store.run_file import read_run_file


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. `commit` is the head that holds the run; `uploads` and `deletions` are empty if it was there."""

    url: str
    commit: str
    name: str
    uploads: tuple[tuple[str, int], ...]
    deletions: tuple[str, ...]


def dry_run(run_dir: Path, repo: str) -> list[tuple[str, int]]:
    """Return path and size in bytes of every file that a push into a new repository would bring; asks no network."""
    checked_repo_id(repo)
    with staged_run(run_dir) as staged:
        return [(upload.path, upload.size) for upload in (*staged.uploads, _card_of(repo, staged, []))]


def push_run(
    run_dir: Path, repo: str, *, public: bool = False, branch: str | None = None, backoff: Backoff | None = None
) -> Pushed:
    """Bring the repository to what the run directory holds; other runs in it stay.

    A repository that does not exist is made, private unless `public`. Raises UserError for a run that cannot be pushed,
    a name or permission that is wrong, or another run of that name in the repository; MissingPrerequisite without a
    token or connection; RunFailed when the Hub keeps failing. In all these cases the repository is as it was.
    """
    remote = HubRepo(repo, repo_type="dataset", branch=branch, backoff=backoff)
    require_token()
    with staged_run(run_dir) as staged:
        remote.ensure(private=not public)

        def changes(head: Head) -> tuple[list[Upload], list[str]]:
            check_visibility(head, repo, public=public, what="run")
            return _changes(remote, head, staged)

        done = push_changes(remote, changes, message=f"Push {staged.name}")
        sizes = tuple((upload.path, upload.size) for upload in done.uploads)
        return Pushed(remote.url, done.commit, staged.name, sizes, done.deletions)


def _changes(remote: HubRepo, head: Head, staged: StagedRun) -> tuple[list[Upload], list[str]]:
    """Return what has to be added and deleted so that the head holds the run and a card of all its runs."""
    others = _other_runs(remote, head, staged)
    wanted = [*staged.uploads, _card_of(remote.repo, staged, others)]
    uploads = [upload for upload in wanted if not upload.is_same(head.files.get(upload.path))]
    paths = {upload.path for upload in wanted}
    deletions = [path for path in sorted(head.files) if belongs_to(path, staged.name) and path not in paths]
    return uploads, deletions


def _card_of(repo: str, staged: StagedRun, others: Sequence[CardRun]) -> Upload:
    content = card(repo, [*others, CardRun(staged.name, staged.run, staged.result)])
    if holds_token(content):
        raise UserError("the card would hold what looks like a token; take it out of `about` in run.json")
    return Upload(CARD, content.encode())


def _other_runs(remote: HubRepo, head: Head, staged: StagedRun) -> list[CardRun]:
    """Read the other runs of the head, after a look at what it holds under this run's name."""
    names = runs_in(head.files)
    if not names:
        return []
    patterns = [f"runs/*/{name}" for name in (RUN_JSON, RESULTS)]
    folder = remote.read(head, [*patterns, run_folder(staged.name) + MANIFEST])
    if staged.name in names:
        file = folder / run_folder(staged.name) / MANIFEST
        there = read_manifest(file, where=f"{remote.repo}: {run_folder(staged.name)}{MANIFEST}")
        _refuse_to_lose(there, staged.manifest, remote.repo)
    return [_card_run(folder / run_folder(name), name, remote.repo) for name in names if name != staged.name]


def _card_run(folder: Path, name: str, repo: str) -> CardRun:
    try:
        return CardRun(name, read_run_file(folder), read_results(folder))
    except UserError as error:
        reason = str(error).replace(f"{folder}/", "")
        raise UserError(
            f"{repo} holds the run {name}, which cannot be read: {reason}; fix or delete it there"
        ) from error


def _refuse_to_lose(there: Manifest, here: Manifest, repo: str) -> None:
    """Raise UserError if the repository's run of this name is another one, or has samples that this one lacks."""
    if there.lock_hash != here.lock_hash:
        raise UserError(
            f"{repo} holds another run named {here.name}: its lock is {there.lock_hash[:12]}, here it is "
            f"{here.lock_hash[:12]}; rename the run directory and push again"
        )
    for task, files in there.tasks.items():
        mine = here.tasks[task].draws if task in here.tasks else ()
        for index, draw in enumerate(files.draws):
            count = int(draw.partition(":")[0])
            my_draw = mine[index] if index < len(mine) else "0:"
            my_count = int(my_draw.partition(":")[0])
            if my_count < count or (my_count == count and my_draw != draw):
                why = f"has {count} there and {my_count} here" if my_count < count else "differs"
                raise UserError(
                    f"{repo} holds {here.name} with other samples under the same lock: sample {index} of {task} {why}; "
                    "rename the run directory to push it beside that one"
                )
