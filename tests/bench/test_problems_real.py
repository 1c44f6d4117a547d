"""The real rows of the six benchmarks, where they are at hand, are the ones that the task files describe."""

from pathlib import Path

import pytest

from tbrm_bench.errors import UserError
from tbrm_bench.problems import digest_lines, load_problems, rows_hash
from tbrm_bench.records import Gold
from tbrm_bench.tasks import load_task, task_names


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
