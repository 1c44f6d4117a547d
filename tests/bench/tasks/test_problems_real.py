"""The real rows of the six benchmarks, where they are at hand, are the ones that the task files describe."""

import json
from dataclasses import fields
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tbrm_bench.errors import UserError
from tbrm_bench.records import Gold
from tbrm_bench.tasks.problems import digest_lines, load_problems, rows_hash
from tbrm_bench.tasks.spec import TaskSpec, load_task, task_names


@pytest.mark.parametrize("name", [name for name in task_names() if name != "arithmetic"])
def test_the_real_rows_are_the_tasks(real_data: Path, tmp_path: Path, name: str) -> None:
    spec = load_task(name)
    rows = load_problems(spec, data_dir=real_data)
    assert len(rows) == spec.num_rows
    assert {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in digest_lines(spec, real_data)} == (
        spec.gold_digests()
    )
    # Rows that are left out are found.
    lines = (real_data / f"{name}.jsonl").read_text().splitlines()
    (tmp_path / f"{name}.jsonl").write_text("\n".join(lines[:-2]))
    with pytest.raises(UserError, match=f"{len(lines) - 2} rows found, {len(lines)}"):
        load_problems(spec, data_dir=tmp_path)


def columns_of(spec: TaskSpec) -> set[str]:
    """Return every column name that the task knows."""
    assert spec.columns is not None
    return {
        name
        for field in fields(spec.columns)
        if field.name != "id_prefix"
        for name in getattr(spec.columns, field.name)
    }


@pytest.mark.parametrize("gap", [float("nan"), None], ids=["nan", "null"])
@pytest.mark.parametrize("name", [name for name in task_names() if name != "arithmetic"])
def test_gaps_filled_as_pandas_fills_them_change_no_problem(
    real_data: Path, tmp_path: Path, name: str, gap: float | None
) -> None:
    """Every column in every row; NaN where a value is missing, in JSON (`json.dumps` writes it bare) and in Parquet."""
    spec = load_task(name)
    untouched = load_problems(spec, data_dir=real_data)
    rows = [json.loads(line) for line in (real_data / f"{name}.jsonl").read_text().splitlines()]
    names = columns_of(spec).union(*rows)
    filled = [{key: gap if row.get(key) is None else row[key] for key in names} for row in rows]
    (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, filled)))
    assert load_problems(spec, data_dir=tmp_path) == untouched
    (tmp_path / f"{name}.jsonl").unlink()
    # A column of texts holds null in Parquet, one without any value is of floats, all NaN.
    gaps = {key for key in names if all(row.get(key) is None for row in rows)}
    table = {key: [gap if key in gaps else row.get(key) for row in rows] for key in names}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / f"{name}.parquet")
    assert load_problems(spec, data_dir=tmp_path) == untouched


def test_known_traps_in_the_real_rows(real_data: Path) -> None:
    def golds(name: str) -> dict[str, Gold]:
        return {p.key.problem_id: p.gold for p in load_problems(load_task(name), data_dir=real_data)}

    aime, amc, olympiad = golds("aime24"), golds("amc23"), golds("olympiadbench")
    assert (aime["67"].answers, aime["63"].answers) == (("25",), ("385",))
    assert (amc["0"].answers, amc["17"].answers) == (("27",), ("-1",))
    assert (olympiad["2349"].answers, olympiad["2592"].abs_tolerance) == (("221", "8"), 0.1)
    assert not olympiad["1970"].answers[0].endswith(".")
    assert sum(bool(gold.unit) for gold in olympiad.values()) == 8
    minerva = load_problems(load_task("minerva_math"), data_dir=real_data)
    assert len({p.cluster for p in minerva}) == 211
    assert sum(r"\times 10^" in p.gold.answers[0] for p in minerva) >= 58


def test_the_hubs_shorter_copy_passes_and_has_a_hash_of_its_own(real_data: Path, tmp_path: Path) -> None:
    spec = load_task("olympiadbench")
    lines = (real_data / "olympiadbench.jsonl").read_text().splitlines()
    (tmp_path / "olympiadbench.jsonl").write_text("\n".join(lines[1:]))
    shorter = load_problems(spec, data_dir=tmp_path)
    assert len(shorter) == 674
    assert rows_hash(shorter) != rows_hash(load_problems(spec, data_dir=real_data))
