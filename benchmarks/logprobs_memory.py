"""Scores of response tokens, in tiles and with all logits at once: seconds and peak memory, forward and backward.

    python benchmarks/logprobs_memory.py                               # toy sizes on a CPU, seconds
    python benchmarks/logprobs_memory.py --size full --device cuda     # heads of Qwen2.5-1.5B and 7B on a GPU

Needs torch alone. Contenders, each in a process of its own, `--repeats` times after a warm-up of 8 tokens, of which the
best counts:

    naive       the formula on float32 logits of all tokens, as a training script has it: log_softmax, gather, entropy
    model       the same on the logits as a model gives them, in its own dtype, converted after the product
    tiled       tbrm_train.policy.logprobs

Seconds are a GPU's, or processor seconds of one thread. Memory is what a pass needs beyond weight, hidden states and
targets, their gradients included: the allocator's peak on a GPU, that of resident pages on a CPU (Linux). The last
column is the largest error of log pi against float64 (on 64 of the tokens).
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# tokens, vocabulary, hidden size, dtype
SIZES: dict[str, list[tuple[int, int, int, str]]] = {
    "toy": [(1024, 4096, 64, "float32"), (4096, 4096, 64, "float32"), (1024, 4096, 64, "bfloat16")],
    "cpu": [
        (256, 151936, 256, "float32"), (512, 151936, 256, "float32"), (2048, 32000, 256, "float32"),
        (512, 151936, 256, "bfloat16"),
    ],
    "full": [
        (2048, 151936, 1536, "bfloat16"), (8192, 151936, 1536, "bfloat16"), (16384, 151936, 1536, "bfloat16"),
        (16384, 152064, 3584, "bfloat16"), (32768, 152064, 3584, "bfloat16"),
    ],
}  # fmt: skip
CONTENDERS = ("naive", "model", "tiled")
LOST = dict.fromkeys(("seconds", "gib", "error"), float("nan"))


def scores(contender: str, hidden: Any, weight: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Return log pi, logsumexp and entropy of the targets, (N,) each."""
    if contender == "tiled":
        from tbrm_train.policy.logprobs import token_scores

        return token_scores(hidden, weight, targets)
    if contender == "naive":
        hidden, weight = hidden.float(), weight.float()
    logits = hidden @ weight.T if contender == "exact" else (hidden @ weight.T).float()
    log_pi = logits.log_softmax(dim=-1)
    chosen = log_pi.gather(1, targets[:, None])[:, 0]
    return chosen, logits.logsumexp(dim=-1), -(log_pi.exp() * log_pi).sum(dim=-1)


def measure(contender: str, size: tuple[int, int, int, str], device: str, repeats: int) -> dict[str, float]:
    """Return seconds and GiB of one forward and backward pass; NaN where memory runs out."""
    import torch

    tokens, vocabulary, width, dtype = size
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=draw).to(device, getattr(torch, dtype)).requires_grad_()
    weight = (width**-0.5 * torch.randn(vocabulary, width, generator=draw)).to(device, hidden.dtype).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), generator=draw).to(device)

    def step(count: int) -> float:
        hidden.grad = weight.grad = None
        start = _clock(device)
        logprobs, values, entropy = scores(contender, hidden[:count], weight, targets[:count])
        (logprobs.sum() + values.sum() + entropy.sum()).backward()
        return _clock(device) - start

    try:
        step(8)
        hidden.grad = weight.grad = None
        before = _memory_now(device)
        seconds = min(step(tokens) for _ in range(repeats))
        used = (_memory_peak(device) - before) / 2**30
    except torch.OutOfMemoryError:
        return LOST
    with torch.no_grad():
        some = slice(0, min(64, tokens))
        found, *_ = scores(contender, hidden[some], weight, targets[some])
        exact, *_ = scores("exact", hidden[some].cpu().double(), weight.cpu().double(), targets[some].cpu())
    return {"seconds": seconds, "gib": used, "error": float((found.cpu().double() - exact).abs().max())}


def _clock(device: str) -> float:
    """Return seconds; on a CPU those of this process, so that a neighbour's work does not count."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _memory_now(device: str) -> int:
    """Return the bytes in use, and forget the peak so far."""
    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
        return _kilobytes("VmRSS") * 1024
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _memory_peak(device: str) -> int:
    if device == "cpu":
        return _kilobytes("VmHWM") * 1024
    import torch

    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Measure every contender at every size and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="toy")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        import torch

        torch.set_num_threads(options.threads)
        contender, size = json.loads(options.one)
        print(json.dumps(measure(contender, tuple(size), options.device, options.repeats)))
        return
    print("| tokens | vocabulary | hidden | dtype | contender | seconds | GiB | error |")
    print("|---|---|---|---|---|---|---|---|")
    for size in SIZES[options.size]:
        for contender in CONTENDERS:
            if contender == "model" and size[3] == "float32":
                continue
            words = ["--one", json.dumps([contender, size]), "--device", options.device]
            words += ["--repeats", str(options.repeats), "--threads", str(options.threads)]
            done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)
            if done.returncode > 0:
                sys.exit(done.returncode)
            # A process that the system killed for its memory has said nothing.
            found = json.loads(done.stdout) if done.returncode == 0 else LOST
            told = (f"{found['seconds']:.3g}", f"{found['gib']:.2f}", f"{found['error']:.1e}")
            print(f"| {' | '.join([*map(str, size), contender, *told])} |", flush=True)


if __name__ == "__main__":
    main()
