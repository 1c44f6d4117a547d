"""What a folder holds, for the formats that recognise a checkpoint by the names of its files."""

from pathlib import Path

from tbrm_bench.errors import UserError


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder, in no order; raises UserError if it cannot be listed."""
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


def check_ranks_complete(folder: Path, ranks: set[int], world: int, pattern: str) -> None:
    """Raise UserError unless the ranks are those of the world; `pattern` names a file by (world, rank)."""
    missing = [rank for rank in range(world) if rank not in ranks]
    if missing:
        first = pattern.format(world, missing[0])
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder} lacks {first}{more} of {world} ranks; copy the files of all nodes into it")
    if beyond := sorted(rank for rank in ranks if rank >= world):
        raise UserError(f"{folder} has a file of rank {beyond[0]} in a world of {world}; mixed runs?")
