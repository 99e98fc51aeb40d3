"""The embedded checkpoints: folders that diffusers loads as they are, each with how it was made beside it."""

from pathlib import Path

__all__ = ["embedded", "names"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names that `model.path` may have besides folders and hub ids."""
    return sorted(folder.name for folder in _FOLDER.iterdir() if (folder / "model_index.json").is_file())


def embedded(path: str) -> str:
    """Turn the name of an embedded checkpoint into its folder; leave every other path alone."""
    return str(_FOLDER / path) if path in names() and not Path(path).exists() else path
