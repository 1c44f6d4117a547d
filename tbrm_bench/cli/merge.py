"""`tbench merge CKPT OUT`: a training checkpoint into a Hugging Face model folder."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from tbrm_bench.cli.talk import bars, print_data, print_json, say, warn, word
from tbrm_bench.errors import RunFailed, UserError
from tbrm_bench.foreign import for_terminal

if TYPE_CHECKING:
    from tbrm_bench.merge import CheckReport, MergeReport

SOURCE = "What to merge"
OUTPUT = "How to write it"
LINE_INTERVAL_S = 10.0
PROBE_PROMPT = "12 + 30 ="
PROBE_TOKENS = 16
MAX_SHOWN = 8


def _print_formats(wanted: bool) -> None:
    if wanted:
        from tbrm_bench.merge.formats import FORMATS

        for module in FORMATS:
            print_data(f"{module.NAME:<12}{module.TITLE}{f': {module.FILES}' if module.FILES else ''}")
        raise typer.Exit


def merge(
    source: Annotated[Path, typer.Argument(metavar="CKPT", help="Folder of a checkpoint, a step or a run.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create.")],
    step: Annotated[int | None, typer.Option(help="The step, if a run has several.", rich_help_panel=SOURCE)] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model that training started from: weights below an adapter; config, tokenizer if missing.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    lora_alpha: Annotated[
        float | None, typer.Option(help="An adapter's alpha, if no file has it.", rich_help_panel=SOURCE)
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave a tensor out; * matches any part.", rich_help_panel=SOURCE),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16 (default: as stored).", rich_help_panel=OUTPUT),
    ] = None,
    max_shard_size: Annotated[str, typer.Option(help="Maximum file size.", rich_help_panel=OUTPUT)] = "5GB",
    workers: Annotated[int | None, typer.Option(help="Threads (default: all cores).", rich_help_panel=OUTPUT)] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Merge every step of a run, into OUT/<step>.", rich_help_panel=SOURCE)
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: compare OUT, merged before, with CKPT.")
    ] = False,
    formats: Annotated[
        bool,
        typer.Option("--formats", is_eager=True, callback=_print_formats, help="List the formats that are read."),
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Afterwards load the model and let it write a few tokens.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Convert a training checkpoint to a Hugging Face model (--formats lists what is read).

    OUT is written completely or not at all, with every name and shape checked against the model's class.
    """
    if check:
        if all_ or probe or dtype or drop:
            raise UserError("--check compares a folder with its source and takes no option but --step and --json")
        _check(source, output, step, as_json=json_)
        return
    options: dict[str, Any] = {
        "base": _base_folder(base),
        "dtype": dtype,
        "max_shard_size": max_shard_size,
        "num_workers": workers,
        "lora_alpha": lora_alpha,
        "drop": tuple(drop or ()),
    }
    if all_:
        if step is not None:
            raise UserError(f"--all merges every step, --step {step} one; give one of them")
        reports = _merge_all(source, output, options, probe=probe)
    else:
        reports = [_merge_one(source, output, {**options, "step": step}, probe=probe)]
    if json_:
        rows = [_as_json(report, text) for report, text in reports]
        print_json(rows if all_ else rows[0])
    else:
        for report, text in reports:
            _print_report(report, text)
    last = reports[-1][0].output if reports else output
    say(last, f"next: tbench eval {word(last)}")


def _base_folder(base: str | None) -> Path | None:
    if base is None:
        return None
    if Path(base).expanduser().is_dir():
        return Path(base).expanduser()
    from tbrm_bench.models.resolve import resolve_model

    return resolve_model(base).path


def _merge_one(source: Path, output: Path, options: dict[str, Any], *, probe: bool) -> tuple["MergeReport", str | None]:
    from tbrm_bench.merge import merge as run_merge

    with _progress(output.name) as progress:
        report = run_merge(source, output, progress=progress, **options)
    for warning in report.warnings:
        warn(warning)
    return report, _probe(output) if probe else None


def _merge_all(
    source: Path, output: Path, options: dict[str, Any], *, probe: bool
) -> list[tuple["MergeReport", str | None]]:
    from tbrm_bench.merge import is_merge_of, steps_in

    found = steps_in(source) if source.is_dir() else []
    if not found:
        raise UserError(f"{source} holds no folders with checkpoints; --all takes the folder of a run")
    reports = []
    for checkpoint in found:
        name = f"step-{checkpoint.step}" if checkpoint.step is not None else checkpoint.root.name
        if is_merge_of(output / name, checkpoint):
            say(f"{output / name} already exists")
            continue
        reports.append(_merge_one(checkpoint.root, output / name, options, probe=probe))
    return reports


def _check(source: Path, output: Path, step: int | None, *, as_json: bool) -> None:
    from tbrm_bench.merge import check

    report = check(source, output, step=step)
    if as_json:
        print_json(asdict(report))
    else:
        _print_check(report, source, output)
    if not report.equal:
        raise RunFailed(f"{output} is not what {source} holds: {len(report.differing)} differences; merge it again")


def _print_check(report: "CheckReport", source: Path, merged: Path) -> None:
    for warning in report.warnings:
        warn(warning)
    if report.unverified:
        print_data(f"unchecked: names and shapes against the model's class: {report.unverified}")
    for name, reason in report.differing[:MAX_SHOWN]:
        print_data(f"{name} {reason}")
    if len(report.differing) > MAX_SHOWN:
        print_data(f"and {len(report.differing) - MAX_SHOWN} more")
    if report.equal:
        size = f"{report.num_tensors} tensors, {decimal(report.num_bytes)}"
        print_data(f"equal: {merged} holds exactly what {source} holds ({size}, fingerprint {report.fingerprint[:16]})")


def _as_json(report: "MergeReport", text: str | None) -> dict[str, Any]:
    row = {**asdict(report), "output": str(report.output)}
    return row if text is None else {**row, "probe": text}


def _print_report(report: "MergeReport", text: str | None) -> None:
    step = f", step {report.step}" if report.step is not None else ""
    files = f"{len(report.files)} file{'s' if len(report.files) > 1 else ''}"
    checked = "names and shapes against the model's class, no NaN" if report.verified else "no NaN"
    rows = [
        ("model", str(report.output)),
        ("format", f"{report.format}, world size {report.world_size}{step}"),
        ("tensors", f"{report.num_tensors}, {decimal(report.num_bytes)}, {', '.join(report.dtypes)}, {files}"),
        *[("tied", f"{alias} = {name}") for alias, name in report.tied],
        *[("dropped", f"{name}: {reason}") for name, reason in report.dropped[:MAX_SHOWN]],
    ]
    if len(report.dropped) > MAX_SHOWN:
        rows.append(("dropped", f"and {len(report.dropped) - MAX_SHOWN} more (--json names them)"))
    rows.append(("checked", checked))
    if report.unverified:
        rows.append(("unchecked", f"names and shapes against the model's class: {report.unverified}"))
    rows.append(("fingerprint", report.fingerprint))
    if text is not None:
        rows.append(("probe", f"{PROBE_PROMPT!r} -> {text!r}"))
    rows.append(("seconds", f"{report.seconds:.1f}"))
    for name, value in rows:
        print_data(f"{name:<12}{value}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the function that a merge reports its bytes to: a bar on a terminal, else a line every ten seconds."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = bars()
    if not console.is_terminal:
        yield _lines(name)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        row = bar.add_task(for_terminal(name), total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def _lines(name: str) -> Callable[[int, int], None]:
    started = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_INTERVAL_S:
            return
        last = now
        left_s = (now - started) * (total - done) / done if done else float("nan")
        say(f"{name}: {decimal(done)} of {decimal(total)}, {left_s:.0f} s left")

    return show


def _probe(folder: Path) -> str:
    """Return what the model writes, greedily; raises RunFailed if it cannot be loaded or run."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from tbrm_bench.engines.base import EngineConfig
    from tbrm_bench.engines.hf import HfEngine
    from tbrm_bench.records import SampleKey, SampleRequest, Sampling

    try:
        with HfEngine(EngineConfig(str(folder), max_model_len=256)) as engine:
            ids = tuple(engine.tokenizer(PROBE_PROMPT)["input_ids"])
            sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=PROBE_TOKENS)
            request = SampleRequest(SampleKey("probe", "0", 0), ids, sampling, seed=0)
            return next(iter(engine.generate([request])))[0].text
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunFailed(f"{folder} is written, but does not run: {reason}") from error
