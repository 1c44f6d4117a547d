"""No gold with a changed digit, sign, relation, bracket, function or letter is right for the gold as it was.

`tests/golden/mutations_accepted.txt` lists the changes that are accepted, each looked at, with the reason: minus zero,
a value within the tolerance of the task, a bound letter. `python tests/support/gold_mutations.py --data FOLDER` prints
what differs from the list, with the texts, which may not enter the project.
"""

import random
from pathlib import Path

import pytest
from gold_mutations import TASKS, accepted, all_mutations, listed

SAMPLE = 150  # changes of each task in the default run


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_no_changed_gold_is_right_unless_it_is_listed(task: str, real_data: Path) -> None:
    found = [change.name for change in accepted(all_mutations(task, real_data))]
    assert sorted(found) == sorted(name for name in listed() if name.startswith(f"{task} "))


@pytest.mark.parametrize("task", TASKS)
def test_no_changed_gold_of_a_sample_is_right_unless_it_is_listed(task: str, real_data: Path) -> None:
    changes = all_mutations(task, real_data)
    sample = random.Random(task).sample(changes, min(SAMPLE, len(changes)))
    found = {change.name for change in accepted(sample)}
    assert found == {change.name for change in sample} & listed().keys()


def test_a_change_has_a_name_of_its_own_and_another_text(real_data: Path) -> None:
    changes = all_mutations("math500", real_data)
    assert len({change.name for change in changes}) == len(changes)
    assert all(change.answer != ", ".join(change.gold.answers) for change in changes)


def test_every_listed_change_has_a_reason() -> None:
    assert all(reason for reason in listed().values())
