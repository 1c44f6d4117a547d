"""Where the project's data files are: in the installed package, else beside it in a clone."""

from pathlib import Path

from tbrm_bench.errors import UserError

PACKAGE_DIR = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """Return the folder `name` ("tasks", "leaderboards", "recipes"): `_data/<name>` in a wheel, else in the clone."""
    for candidate in (PACKAGE_DIR / "_data" / name, PACKAGE_DIR.parent / name, PACKAGE_DIR.parent / "train" / name):
        if candidate.is_dir():
            return candidate
    places = f"{PACKAGE_DIR / '_data'} nor {PACKAGE_DIR.parent}"
    raise UserError(f"data folder {name!r} is in neither {places}; reinstall tbrm-bench")


def builtin_model_dir(name: str) -> Path:
    """Return the folder of the bundled model `builtin:<name>`."""
    folder = PACKAGE_DIR / "builtin_models" / name
    if not (folder / "config.json").is_file():
        names = sorted(path.parent.name for path in (PACKAGE_DIR / "builtin_models").glob("*/config.json"))
        raise UserError(f"no bundled model {name!r}; available: {', '.join(names)}")
    return folder
