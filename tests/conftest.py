"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real rows of the six benchmarks; they are not part of the project."""
    folder = os.environ.get("TBENCH_DATA")
    if not folder:
        pytest.skip("TBENCH_DATA does not name a folder with the benchmarks' rows (aime24.jsonl, ...)")
    return Path(folder)
