"""What it costs to check a model before an engine loads: headers of 15 GB of weights against the model's class.

    python benchmarks/model_door_cost.py [--family qwen2|gemma]

The files are sparse: they have the size and the header of a Qwen2 of 7 billion weights, and no data. `gemma` names a
class that has to be asked of transformers, which then finds that the weights are not its own; the second time it is
known.
"""

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tbrm_bench.errors import UserError
from tbrm_bench.merge.model.families import names_and_shapes
from tbrm_bench.models.door import open_model

SHARDS = 4
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584,
    "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip


def write_model(folder: Path, config: dict[str, Any]) -> None:
    """Write the config, and four sparse shards with their index."""
    known = names_and_shapes(CONFIG)
    assert known is not None
    shapes, names = known[0], sorted(known[0])
    weight_map = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        header, end = {}, 0
        for name in names[shard::SHARDS]:
            start, end = end, end + 2 * math.prod(shapes[name])
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [start, end]}
            weight_map[name] = file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config))


def main() -> None:
    """Print the seconds of three rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("qwen2", "gemma"), default="qwen2")
    family = parser.parse_args().family
    config = CONFIG if family == "qwen2" else CONFIG | {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}
    with tempfile.TemporaryDirectory() as home:
        os.environ["TBENCH_CACHE"] = f"{home}/cache"
        folder = Path(home) / "model"
        folder.mkdir()
        write_model(folder, config)
        for _ in range(3):
            started, cpu = time.perf_counter(), time.process_time() + sum(os.times()[2:4])
            try:
                open_model(str(folder))[1].finish(engine="vllm")
                said = "fits"
            except UserError:
                said = "refused"
            seconds, cpu = time.perf_counter() - started, time.process_time() + sum(os.times()[2:4]) - cpu
            print(f"{family:6} {said:8} {seconds:6.2f} s, {cpu:5.2f} s of CPU")


if __name__ == "__main__":
    main()
