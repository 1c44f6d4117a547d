"""`tbench pull REPO RUN`: a pushed run as a run directory again, to be shown, graded anew or compared."""

from pathlib import Path
from typing import Annotated

import typer

from tbrm_bench.cli.hub import talking_backoff
from tbrm_bench.cli.talk import print_data, print_json, say, word


def pull(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Dataset repository that `tbench push` wrote.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory to create; must not exist.")],
    name: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Which run, if the repository holds several.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit (default: main).")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print what was pulled as JSON.")] = False,
) -> None:
    """Pull a run: the lock, problems, samples, verdicts and scores that were pushed."""
    from tbrm_bench.publish import pull_run

    done = pull_run(repo, run, name=name, revision=revision, backoff=talking_backoff())
    if json_:
        facts = {"run": str(run), "name": done.name, "commit": done.commit, "samples": done.num_samples}
        print_json(facts, indent=None)
        return
    print_data(run)
    say(f"{done.name}: {done.num_samples:,} samples, commit {done.commit}")
    say(f"next: tbench show {word(run)}")
