"""One table of formats: what finds a checkpoint also loads it, and error, command and page read the same table."""

import subprocess
import sys
from pathlib import Path

import pytest

from tbrm_bench.merge import detect
from tbrm_bench.merge.formats import FORMATS
from tbrm_bench.merge.refusals import UnknownFormat

ROOT = Path(__file__).resolve().parents[4]
READ = [module for module in FORMATS if module.FILES]


def test_every_format_has_a_name_of_its_own() -> None:
    assert len({module.NAME for module in FORMATS}) == len(FORMATS)


def test_the_error_of_no_checkpoint_names_the_files_of_every_format(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat) as caught:
        detect(tmp_path)
    for module in READ:
        assert module.FILES in str(caught.value)


def test_the_command_lists_every_format_and_the_page_has_its_row() -> None:
    command = [sys.executable, "-m", "tbrm_bench", "merge", "--formats"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "merge.md").read_text()
    for module in FORMATS:
        assert f"{module.NAME:<12}{module.TITLE}" in printed
        assert f"| {module.TITLE}" in page or module not in READ, f"docs/merge.md has no row of {module.TITLE}"


def test_a_new_format_is_a_module_and_its_name_in_the_tuple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detection, loading and the error follow the tuple alone."""
    from types import SimpleNamespace

    from tbrm_bench.merge import formats
    from tbrm_bench.merge.checkpoint import Checkpoint
    from tbrm_bench.merge.pieces.tiling import Loaded

    def find(folder: Path) -> Checkpoint | None:
        return Checkpoint("mine", folder, (folder / "mine.bin",)) if (folder / "mine.bin").is_file() else None

    mine = SimpleNamespace(NAME="mine", TITLE="mine", FILES="mine.bin", find=find, load=lambda *given: Loaded({}, []))
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, mine))
    (tmp_path / "mine.bin").write_bytes(b"")
    found = detect(tmp_path)
    assert found.format == "mine"
    assert formats.load(found, None).tensors == {}
