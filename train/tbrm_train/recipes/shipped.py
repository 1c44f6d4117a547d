"""The recipes that come with the package, by their names: `tbench train tiny-tbrm`."""

from pathlib import Path

from tbrm_bench.errors import UserError
from tbrm_bench.nearest import did_you_mean
from tbrm_bench.resources import data_dir


def shipped_recipes() -> dict[str, Path]:
    """Return the file of each shipped recipe, by its name."""
    return {path.stem: path for path in sorted(data_dir("recipes").glob("*.toml"))}


def find_recipe(given: Path) -> Path:
    """Return the file of a recipe: a path as it is, a bare name where no such file is as the shipped recipe's.

    Raises UserError for a name that no shipped recipe has.
    """
    name = str(given)
    if name != given.name or name.endswith(".toml") or (given.exists() and not given.is_dir()):
        return given
    shipped = shipped_recipes()
    if name not in shipped:
        raise UserError(f"{name!r} is neither a file nor a shipped recipe; {did_you_mean(name, shipped)}")
    return shipped[name]
