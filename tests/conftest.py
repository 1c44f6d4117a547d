"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real rows of the six benchmarks; they are not part of the project."""
    folder = Path(os.environ.get("TBENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "aime24.jsonl").is_file():
        pytest.skip(f"the benchmarks' rows are not in {folder}; name their folder in TBENCH_DATA")
    return folder
