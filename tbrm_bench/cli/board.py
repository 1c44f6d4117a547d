"""`tbench board`: add a run to a board, show it, write its page."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tbrm_bench.cli.talk import print_data, print_json, say, show_help, tables, word
from tbrm_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from tbrm_bench.leaderboard.board import Board
    from tbrm_bench.leaderboard.rows import BoardRow

app = typer.Typer(help="Add runs to leaderboards that rank only what is comparable; show and render them.")
README = "README.md"
WIDE = 130

BoardName = Annotated[str, typer.Option("--board", help="A board: a TOML file in the folder.")]
Folder = Annotated[
    Path | None, typer.Option("--dir", help="Folder of boards (default: ./boards, then the shipped ones).")
]


@app.callback(invoke_without_command=True)
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_help(context)
        raise typer.Exit(ExitCode.USAGE)


@app.command("add")
def add(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A finished run directory, or a pushed run: owner/name[@revision].")
    ],
    board: BoardName = "tbrm6",
    name: Annotated[str | None, typer.Option(help="Name of the row (default: the run's model).")] = None,
    pushed_run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Which run, if the repository holds several.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Check a run against a board's rules and write its row."""
    from tbrm_bench.cli.hub import talking_backoff
    from tbrm_bench.leaderboard.add import add_run, is_on_hub
    from tbrm_bench.leaderboard.board import OWN, load_board

    spec, to = load_board(board, folder), folder or OWN
    if is_on_hub(run):
        say(f"{run} is not a local folder: asking the Hub")
    print_data(add_run(spec, run, name=name, pushed_run=pushed_run, to=to, backoff=talking_backoff()))
    if spec.folder != to:
        say(f"board {board} is shipped with the package: its definition was copied to {to / board}.toml")
    say(f"next: tbench board show --board={shlex.quote(board)}{_dir(folder)}")


@app.command("show")
def show(
    board: BoardName = "tbrm6",
    folder: Folder = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Show a board: rank ranges, scores, errors."""
    from tbrm_bench.leaderboard.board import load_board, shipped_too
    from tbrm_bench.leaderboard.ranks import rank_ranges
    from tbrm_bench.leaderboard.rows import read_rows

    spec = load_board(board, folder)
    if folder is None and (shipped := shipped_too(spec)):
        say(f"{board} of ./boards; the shipped one: tbench board show --board={shlex.quote(board)}{_dir(shipped)}")
    rows = read_rows(spec)
    ranks = rank_ranges(rows, order=spec.order)
    if json_:
        values = [_as_json(spec, row, rank) for row, rank in zip(rows, ranks, strict=True)]
        print_json({"board": spec.name, "rows": values})
    else:
        _print(spec, rows, ranks)


def _dir(folder: Path | None) -> str:
    return "" if folder is None else f" --dir {word(folder)}"


def _as_json(board: "Board", row: "BoardRow", rank: tuple[int, int]) -> dict[str, Any]:
    from tbrm_bench.leaderboard.rows import scores_json

    scores = scores_json(board, row)
    return {
        "rank": list(rank),
        "name": row.name,
        "kind": row.kind,
        "mean": scores["mean"]["score"],
        "se": scores["mean"]["se"],
        "ci": scores["mean"]["ci"],
        "tasks": scores["tasks"],
    }


def _print(spec: "Board", rows: "list[BoardRow]", ranks: list[tuple[int, int]]) -> None:
    from rich import box
    from rich.table import Table

    from tbrm_bench.leaderboard.page import estimate, rank_text

    console = tables()
    tasks = spec.tasks if console.width >= WIDE else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=spec.title)
    for header in ("rank", "model", *tasks, "mean", "kind"):
        table.add_column(header, justify="left" if header in ("model", "kind") else "right")
    for row, rank in zip(rows, ranks, strict=True):
        cells = [estimate(row.tasks[task].score, row.tasks[task].se) for task in tasks]
        table.add_row(rank_text(rank), row.name, *cells, estimate(row.score, row.se), row.kind)
    console.print(table)


@app.command("render")
def render(
    folder: Folder = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if the page is not up to date.")
    ] = False,
    site: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a static site to DIR instead of the page.")
    ] = None,
) -> None:
    """Write the page of all boards in a folder: README.md, generated from the rows."""
    from tbrm_bench.files import write_text
    from tbrm_bench.leaderboard.board import OWN, board_folder
    from tbrm_bench.leaderboard.page import page
    from tbrm_bench.leaderboard.remote import boards_in
    from tbrm_bench.leaderboard.rows import read_rows

    place = board_folder(folder)
    if site is None and not check and place not in (folder, OWN):
        raise UserError("./boards holds no boards, and the shipped ones are read-only; add a run, or give --dir")
    boards = boards_in(place)
    if site is not None:
        from tbrm_bench.leaderboard.website import write_site

        write_site([(board, read_rows(board)) for board in boards], site)
        print_data(site / "index.html")
        return
    content = page([(board, read_rows(board)) for board in boards])
    file = place / README
    if not check:
        write_text(file, content)
        print_data(file)
    elif not file.is_file() or file.read_text(encoding="utf-8") != content:
        say(f"{file} is out of date; run: tbench board render{_dir(folder)}")
        raise typer.Exit(ExitCode.FAILED)


Repo = Annotated[str, typer.Argument(metavar="REPO", help="Dataset repository: owner/name.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite boards and rows that differ on the other side.")]


@app.command("push")
def push(
    repo: Repo,
    folder: Folder = None,
    public: Annotated[bool, typer.Option("--public", help="Make the repository public (default: private).")] = False,
    replace: Replace = False,
) -> None:
    """Push a folder's boards, rows and page to the Hub in one commit; rows pushed by others are kept."""
    from tbrm_bench.cli.hub import talking_backoff
    from tbrm_bench.leaderboard.board import board_folder
    from tbrm_bench.leaderboard.remote import push_boards

    done = push_boards(board_folder(folder), repo, public=public, replace=replace, backoff=talking_backoff())
    say(f"pushed {len(done.files)} files" if done.files else "nothing to push: the repository is up to date")
    print_data(done.url)


@app.command("pull")
def pull(
    repo: Repo,
    folder: Annotated[Path, typer.Option("--dir", help="Folder to pull into; created if it does not exist.")] = Path(
        "boards"
    ),
    replace: Replace = False,
) -> None:
    """Pull a repository's boards and rows into a folder and write its page; existing rows are kept."""
    from tbrm_bench.cli.hub import talking_backoff
    from tbrm_bench.leaderboard.remote import pull_boards

    done = pull_boards(repo, folder, replace=replace, backoff=talking_backoff())
    say(f"pulled {len(done.files)} files" if done.files else "nothing to pull: the folder is up to date")
    print_data(folder)
