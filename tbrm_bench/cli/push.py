"""`tbench push RUN REPO`: a run as a dataset repository on the Hub, and its scores as a proposal to the model's."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from tbrm_bench.cli.hub import talking_backoff
from tbrm_bench.cli.talk import print_data, print_json, say, word
from tbrm_bench.errors import UserError

if TYPE_CHECKING:
    from tbrm_bench.publish import ModelResults


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory with results.json.")],
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="Dataset repository: owner/name; created if it does not exist.")
    ],
    public: Annotated[bool, typer.Option("--public", help="Make the repository public (default: private).")] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch to push to (default: main); created if it does not exist.")
    ] = None,
    eval_results: Annotated[
        str | None,
        typer.Option(metavar="MODEL_REPO", help="Also propose the scores to this model's repository."),
    ] = None,
    model_card: Annotated[
        bool, typer.Option("--model-card", help="With --eval-results: a table of the scores in the model's card, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the files and their sizes, without network.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Push samples, verdicts, scores and the lock in one commit; files that the repository has are not sent again."""
    from tbrm_bench.hub import endpoint
    from tbrm_bench.publish import dry_run as plan
    from tbrm_bench.publish import model_results, propose_results, push_run

    # Checked before anything is sent.
    if model_card and not eval_results:
        raise UserError("--model-card needs the model's repository; add --eval-results OWNER/NAME")
    results = None
    if eval_results:
        results = model_results(run, eval_results, source_url=f"{endpoint()}/datasets/{repo}")
    if dry_run:
        _print_plan(plan(run, repo), results, eval_results, with_card=model_card, as_json=json_)
        return
    pushed = push_run(run, repo, public=public, branch=revision, backoff=talking_backoff())
    proposal = None
    if results and eval_results:
        proposal = propose_results(results, eval_results, with_card=model_card, backoff=talking_backoff())
    if json_:
        files = [{"path": path, "bytes": num_bytes} for path, num_bytes in pushed.uploads]
        facts = {"url": pushed.url, "commit": pushed.commit, "run": pushed.name, "uploaded": files}
        print_json(facts | {"deleted": list(pushed.deletions), "pull_request": proposal})
        return
    if pushed.uploads or pushed.deletions:
        say(f"pushed {len(pushed.uploads)} files, {decimal(sum(number for _, number in pushed.uploads))}")
    else:
        say("nothing to push: the repository already holds this run")
    print_data(pushed.url)
    if proposal:
        print_data(proposal)
    say(f"next: tbench pull {word(repo)} RUN --run {shlex.quote(pushed.name)}")


def _print_plan(
    files: list[tuple[str, int]],
    results: "ModelResults | None",
    model_repo: str | None,
    *,
    with_card: bool,
    as_json: bool,
) -> None:
    """Print paths and sizes; for the model's repository the content as well, since people will read it."""
    if as_json:
        rows = [{"path": path, "bytes": num_bytes} for path, num_bytes in files]
        proposed = None
        if results:
            proposed = {"repo": model_repo, "path": results.path, "content": results.content.decode()}
            proposed |= {"card_section": results.section} if with_card else {}
        print_json({"files": rows, "eval_results": proposed})
        return
    width = max(len(f"{num_bytes:,}") for _, num_bytes in files)
    for path, num_bytes in files:
        print_data(f"{num_bytes:>{width},}  {path}")
    print_data(f"{sum(number for _, number in files):>{width},}  bytes in {len(files)} files, into a new repository")
    if results:
        print_data("", f"{model_repo}: {results.path}, as a pull request", "", *results.content.decode().splitlines())
        if with_card:
            head = f"{model_repo}: README.md, this section in the same pull request"
            print_data("", head, "", *results.section.splitlines())
        if results.skipped:
            say(f"left out, since their rows are not from the Hub: {', '.join(results.skipped)}")
