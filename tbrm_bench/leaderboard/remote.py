"""Boards in a dataset repository on the Hub: pushed there by many, pulled from there by all.

    README.md                    the page, made of the rows
    tbrm6.toml                   a board
    rows/tbrm6/my-model.json     its rows

Both directions only add: a row that is on one side stays there. A file that differs is refused by its name, unless it
may be replaced, since neither side can know which one is newer. A commit is made for one head only: of two pushes at
the same time the second one reads the rows of the first, checks them together, and makes the page of both.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.files import read_text, write_files
from tbrm_bench.hub import Backoff, Head, HubRepo, Upload, check_visibility, push_changes
from tbrm_bench.hub.client import require_token
from tbrm_bench.leaderboard.board import Board, load_board, locked_boards
from tbrm_bench.leaderboard.page import page
from tbrm_bench.leaderboard.rows import read_rows
from tbrm_bench.leaderboard.rules import check_agreement, check_row

PAGE = "README.md"
# The Hub's viewer has nothing to show of a board's rows.
FRONT = "---\nviewer: false\n---\n\n"
MINE = re.compile(r"[A-Za-z0-9][\w.-]*\.toml|rows/[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a push or a pull did: the repository's page, its commit, and the files that changed, if any."""

    url: str
    commit: str
    files: tuple[str, ...]


def push_boards(
    folder: Path, repo: str, *, public: bool = False, replace: bool = False, backoff: Backoff | None = None
) -> Moved:
    """Bring the boards of a folder and their rows to a dataset repository, in one commit or none.

    Raises UserError for a row that breaks a rule, also together with the rows that are there, and for a file that
    differs there unless `replace`; in both cases, and on MissingPrerequisite and RunFailed, nothing was changed.
    """
    remote = HubRepo(repo, repo_type="dataset", backoff=backoff)
    require_token()
    check_boards(folder)
    remote.ensure(private=not public)

    def changes(head: Head) -> tuple[list[Upload], list[str]]:
        check_visibility(head, repo, public=public, what="board")
        return _changes(remote, head, folder, replace=replace), []

    done = push_changes(remote, changes, message="Push boards")
    return Moved(remote.url, done.commit, tuple(upload.path for upload in done.uploads))


def pull_boards(repo: str, folder: Path, *, replace: bool = False, backoff: Backoff | None = None) -> Moved:
    """Bring the boards and rows of a repository to a folder and write its page; nothing is written if a check fails."""
    remote = HubRepo(repo, repo_type="dataset", backoff=backoff)
    head = _head(remote)
    there = _read(remote, head)
    with locked_boards(folder), _union(folder, there, replace=replace, winner="there", repo=repo) as both:
        check_boards(both)
        written = [path for path in files_of(both) if not _same(both / path, folder / path)]
        contents = {folder / path: read_text(both / path) for path in written}
        if written or not (folder / PAGE).is_file():
            write_files(contents | {folder / PAGE: page_of(both)}, make_folders=True)
    return Moved(remote.url, head.commit, tuple(written))


def files_of(folder: Path) -> list[str]:
    """Return the boards and rows in a folder, as sorted relative paths; anything else in it is not ours."""
    if not folder.is_dir():
        return []
    found = [*folder.glob("*.toml"), *folder.glob("rows/*/*.json")]
    return sorted(path for file in found if MINE.fullmatch(path := file.relative_to(folder).as_posix()))


def boards_in(folder: Path) -> list[Board]:
    """Return the boards of a folder; raises UserError if there is none."""
    boards = [load_board(file.stem, folder) for file in sorted(folder.glob("*.toml"))]
    if not boards:
        raise UserError(f"{folder} holds no board (*.toml); give the folder of one with --dir")
    return boards


def check_boards(folder: Path) -> None:
    """Raise UserError if a row cannot be read or breaks a rule of its board."""
    for board in boards_in(folder):
        rows = read_rows(board)
        for row in rows:
            check_row(board, row)
        check_agreement(board, rows)


def page_of(folder: Path) -> str:
    """Return the page of all boards in a folder."""
    return page([(board, read_rows(board)) for board in boards_in(folder)])


def _head(remote: HubRepo) -> Head:
    head = remote.head()
    if head is None:
        raise UserError(f"{remote.repo!r} is not a dataset on the Hub, or is private; check the name and the token")
    return head


def _read(remote: HubRepo, head: Head) -> dict[str, bytes]:
    wanted = [path for path in head.files if MINE.fullmatch(path)]
    folder = remote.read(head, wanted) if wanted else Path()
    return {path: (folder / path).read_bytes() for path in wanted}


def _changes(remote: HubRepo, head: Head, folder: Path, *, replace: bool) -> list[Upload]:
    with _union(folder, _read(remote, head), replace=replace, winner="here", repo=remote.repo) as both:
        check_boards(both)
        contents = {path: (both / path).read_bytes() for path in files_of(both)}
        contents[PAGE] = (FRONT + page_of(both)).encode()
    uploads = [Upload(path, content) for path, content in contents.items()]
    return [upload for upload in uploads if not upload.is_same(head.files.get(upload.path))]


@contextmanager
def _union(folder: Path, there: dict[str, bytes], *, replace: bool, winner: str, repo: str) -> Iterator[Path]:
    """Yield a temporary folder with the files of both sides."""
    here = {path: (folder / path).read_bytes() for path in files_of(folder)}
    _refuse_differences([path for path in here if path in there and here[path] != there[path]], repo, replace=replace)
    merged = here | there if winner == "there" else there | here
    place = Path(tempfile.mkdtemp(prefix="tbench-board-"))
    try:
        for path, content in merged.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
        yield place
    finally:
        shutil.rmtree(place)


def _refuse_differences(paths: Sequence[str], repo: str, *, replace: bool) -> None:
    if paths and not replace:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        raise UserError(f"{paths[0]}{more} in {repo} differs from the local file; rename the row, or give --replace")


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
