"""lm-eval evaluates a task whose YAML is that of the page."""

import json
from pathlib import Path

import pytest
from own_environment import blocks, own_environment, run_in

pytestmark = pytest.mark.slow

ROWS = [
    {"question": "a", "answer": "1/2", "reply": r"so \boxed{0.5}"},
    {"question": "b", "answer": r"2\sqrt3", "reply": r"The answer is $\sqrt{12}$."},
    {"question": "c", "answer": "7", "reply": "8"},
    {"question": "d", "answer": "7", "reply": "The answer is 7."},
]
TASK = """
task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""
SCRIPT = """
import json
import lm_eval
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

replies = {row["question"]: row["reply"] for row in map(json.loads, open("rows.jsonl"))}

class Parrot(LM):
    def generate_until(self, requests, **_):
        return [replies[request.args[0]] for request in requests]
    def loglikelihood(self, requests, **_):
        raise NotImplementedError
    loglikelihood_rolling = loglikelihood

names = ["by_metric", "by_results"]
found = lm_eval.simple_evaluate(model=Parrot(), tasks=names, task_manager=TaskManager(include_path="tasks"),
                                bootstrap_iters=10)
print("RESULT", json.dumps({name: found["results"][name] for name in names}, default=str))
"""


def test_it_evaluates_with_both_forms_of_the_page(tmp_path: Path) -> None:
    (imports,) = blocks("grading-elsewhere.md", "lm-eval", "python")
    metric, results = blocks("grading-elsewhere.md", "lm-eval", "yaml")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tbrm.py").write_text(imports)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, block in (("by_metric", metric), ("by_results", results)):
        (tmp_path / "tasks" / f"{name}.yaml").write_text(TASK.replace("NAME", name) + block)
    with own_environment(tmp_path, ["lm-eval==0.4.13"], with_torch=True) as python:
        said = run_in(python, "-c", SCRIPT, folder=tmp_path, HF_HUB_OFFLINE="1")
    for name, scores in json.loads(said.rpartition("RESULT ")[2]).items():
        assert scores["tbrm,none"] == 0.75, name
        assert scores["tbrm_stderr,none"] > 0
