"""Damaged checkpoints: whatever happens to their files, a merge is right to the bit or ends in one line for people.

    try 17: flip 3 bytes of model_world_size_4_rank_2.pt -> DamagedFile: ... the checksum of its bytes ...

The damages are those of copies and disks: files cut short, flipped bits, blocks of zeros, files under another's name.
safetensors files have no checksums, so only their cuts are tried.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints.compare import assert_bits_equal, expected_state, stored
from checkpoints.variants import Place

from tbrm_bench.errors import UserError
from tbrm_bench.merge import MergeReport, merge

Find = Callable[[str, str], Place]
SOURCES = [
    ("fsdp", "fsdp2-w4-fp32-tied-uneven"),
    ("fsdp", "fsdp1_sharded_tensor-w4-bf16-untied-uneven"),
    ("fsdp", "hsdp1-w4-fp32-tied-uneven"),
    ("fsdp", "tp_fsdp2-w4-fp32-tied-uneven"),
    ("fsdp", "fsdp2-w4-fp32-tied-uneven-buffers"),
    ("zero", "zero2-w2-fp32-tied-uneven-groups2"),
    ("zero", "zero3-w4-bf16-untied-uneven-sub9000"),
    ("zero", "universal3-w2-bf16-tied-uneven"),
    ("dcp", "dcp_nested-w2-fp32-tied-uneven"),
    ("plain", "plain-bin-fp32-untied-sharded"),
]
WEIGHTS = {".pt", ".bin", ".distcp", ".metadata", ".safetensors"}
SEED = 20_250_101


def weight_files(folder: Path) -> list[Path]:
    """Return the files that a merge may read weights from, in a fixed order."""
    files = (path for path in folder.rglob("*") if path.is_file() and (path.suffix or path.name) in WEIGHTS)
    return sorted(path for path in files if not path.name.startswith(("optim_world", "extra_state")))


def cut(rng: random.Random, file: Path) -> str:
    """Cut the file anywhere, most often near an end, where a table stands."""
    size = file.stat().st_size
    keep = rng.choice([rng.randrange(size), max(0, size - rng.randrange(1, 300)), rng.randrange(min(size, 300))])
    file.write_bytes(file.read_bytes()[:keep])
    return f"cut {file.name} at {keep} of {size}"


def flip(rng: random.Random, file: Path) -> str:
    """Flip a bit in up to 8 bytes, anywhere or near the end."""
    data = bytearray(file.read_bytes())
    start = rng.choice([0, 0, max(0, len(data) - 2_000)])
    places = [rng.randrange(start, len(data)) for _ in range(rng.choice([1, 1, 1, 8]))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return f"flip bytes {places} of {file.name}"


def blank(rng: random.Random, file: Path) -> str:
    """Fill up to a page with zeros, as a copy over a full disk leaves it."""
    data = bytearray(file.read_bytes())
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice([1, 64, 512, 4096]))
    data[start:stop] = bytes(stop - start)
    file.write_bytes(data)
    return f"blank bytes {start} to {stop} of {file.name}"


def swap(rng: random.Random, file: Path) -> str:
    """Exchange two files of one kind."""
    return exchange(rng, file, keep=False)


def repeat(rng: random.Random, file: Path) -> str:
    """Put a copy of one file in the place of another."""
    return exchange(rng, file, keep=True)


def exchange(rng: random.Random, file: Path, *, keep: bool) -> str:
    others = [path for path in weight_files(file.parent) if path.suffix == file.suffix and path != file]
    if not others:
        return f"nothing: {file.name} is the only one"
    other = rng.choice(others)
    ours, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    if not keep:
        other.write_bytes(ours)
    return f"{'repeat' if keep else 'swap'} {other.name} as {file.name}"


DAMAGES = [cut, flip, flip, blank, swap, repeat]


def outcome(checkpoint: Path, output: Path, base: Path) -> MergeReport | UserError:
    """Merge; any other exception is the test's."""
    try:
        return merge(checkpoint, output, base=base)
    except UserError as error:
        return error


def damaged_copy(place: Place, folder: Path, rng: random.Random) -> tuple[Path, str]:
    """Return a copy with one damage, and what it is; the files that no damage touches are links."""
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = Path(shutil.copytree(place.checkpoint, folder / "checkpoint", copy_function=os.link))
    files = weight_files(checkpoint)
    for file in files:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    return checkpoint, rng.choice(DAMAGES)(rng, rng.choice(files))


def fuzz(place: Place, folder: Path, tries: range) -> dict[str, int]:
    """Damage copies of a checkpoint and merge them; return how many merges were right and how many were refused."""
    counts = {"right": 0, "refused": 0}
    for number in tries:
        checkpoint, what = damaged_copy(place, folder, random.Random(SEED + number))
        try:
            found = outcome(checkpoint, folder / "out", place.source)
            if isinstance(found, UserError):
                assert "\n" not in str(found)
                assert not (folder / "out").exists()
            else:
                assert_bits_equal(stored(folder / "out"), expected_state(place, found))
        except Exception as error:
            raise AssertionError(f"try {number}: {what}: {type(error).__name__}: {error}") from error
        counts["refused" if isinstance(found, UserError) else "right"] += 1
    return counts


@pytest.mark.parametrize(("script", "name"), SOURCES, ids=[name for _, name in SOURCES])
def test_a_damaged_checkpoint_is_right_or_refused(script: str, name: str, checkpoint: Find, tmp_path: Path) -> None:
    counts = fuzz(checkpoint(script, name), tmp_path / "try", range(5))
    assert counts["refused"]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "name"), SOURCES, ids=[name for _, name in SOURCES])
def test_a_hundred_damages_each(script: str, name: str, checkpoint: Find, tmp_path: Path) -> None:
    counts = fuzz(checkpoint(script, name), tmp_path / "try", range(5, 105))
    assert counts["refused"] > 30
    assert sum(counts.values()) == 100
