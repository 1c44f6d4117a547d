"""`tbench download REPO`: a Hub repository on disk, whole and checked; the same command resumes it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from tbrm_bench.cli.talk import print_data, print_json, say
from tbrm_bench.errors import UserError


def download(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Hub id: owner/name or owner/name@revision.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit (default: main).")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only files that match; may be repeated.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Skip files that match; may be repeated.")
    ] = None,
    local_dir: Annotated[Path | None, typer.Option(help="Folder for the files (default: the client's cache).")] = None,
    repo_type: Annotated[str, typer.Option(help="model or dataset.")] = "model",
    json_: Annotated[bool, typer.Option("--json", help="Print path, commit and counts as JSON.")] = False,
) -> None:
    """Download a model, a training checkpoint or a dataset, and print where it is."""
    if repo_type not in ("model", "dataset"):
        raise UserError(f"--repo-type {repo_type!r} is not one of model, dataset")
    name, at, named = repo.partition("@")
    if at and revision:
        raise UserError(f"{repo!r} names the revision {named!r} and --revision {revision!r}; give one of them")

    from tbrm_bench.cli.hub import talking_backoff
    from tbrm_bench.hub import download_repo

    done = download_repo(
        name,
        repo_type=repo_type,
        revision=named or revision,
        include=include or (),
        ignore=ignore or (),
        local_dir=local_dir,
        backoff=talking_backoff(),
        announce=lambda num_files, num_bytes: say(f"{name}: {num_files} files, {decimal(num_bytes)}"),
    )
    if json_:
        facts = {"path": str(done.path), "commit": done.commit, "files": done.num_files, "bytes": done.num_bytes}
        print_json(facts)
    else:
        print_data(done.path)
        say(f"{done.num_files} files, {decimal(done.num_bytes)}, commit {done.commit}")
