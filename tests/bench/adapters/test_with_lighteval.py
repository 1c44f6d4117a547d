"""lighteval's registry reads the file of the page, and its own code computes the metric.

It pins a parser that is too old for math-verify, so the wheel goes in without its dependencies, all others of which
lighteval brings: an answer that only SymPy could read is wrong then.
"""

import json
from pathlib import Path

import pytest
from own_environment import blocks, own_environment, run_in

pytestmark = pytest.mark.slow

SCRIPT = r"""
import json, sys
from lighteval.metrics import apply_metric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.registry import Registry
from lighteval.tasks.requests import Doc

# Its constructor would also load lighteval's own tasks, one of which fetches a file when it is imported.
config = Registry._extract_configs(Registry.create_custom_tasks_module("tasks.py"))["sums"]
rows = [{"problem": "?", "answer": "1/2"}, {"problem": "?", "answer": r"2\sqrt3"}, {"problem": "?", "answer": "7"}]
docs = [config.prompt_function(row, config.name) for row in rows]
docs.append(Doc(task_name="sums", query="?", choices=["5", "7"], gold_index=[0, 1]))
docs.append(Doc(task_name="sums", query="?", choices=["1"], gold_index=0))
texts = [["so \\boxed{0.5}"], ["The answer is \\sqrt{12}.", "The answer is 3."],
         ["8"], ["7"], ["\\boxed{\\int_0^1 2x\\,dx}"]]
results = apply_metric(responses=[ModelResponse(text=text) for text in texts], docs=docs, metrics=config.metrics)
(metric,) = config.metrics
((name, aggregate),) = metric.get_corpus_aggregations().items()
print("RESULT", json.dumps([results, name, aggregate([one[name] for one in results])]))
"""


def test_it_computes_the_metric_of_the_page(tmp_path: Path) -> None:
    (block,) = blocks("grading-elsewhere.md", "lighteval", "python")
    (tmp_path / "tasks.py").write_text(block)
    with own_environment(tmp_path, ["lighteval==0.13.0"], with_torch=True, without_dependencies=True) as python:
        said = run_in(python, "-c", SCRIPT, folder=tmp_path, HF_HUB_OFFLINE="1")
    results, name, score = json.loads(said.rpartition("RESULT ")[2])
    assert (name, [one["tbrm"] for one in results]) == ("tbrm", [1.0, 0.5, 0.0, 1.0, 0.0])
    assert score == 0.5
