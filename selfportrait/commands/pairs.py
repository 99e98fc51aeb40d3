"""Settings as a command line gives them: `--set key=value`, with values as in a config.

Read this to learn how a value on the command line is read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from selfportrait import strict_yaml

__all__ = ["parse", "split"]


def parse(pairs: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` pairs; the value is YAML, so 3 is a number and true is a truth. Raises ValueError."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"--set {pair!r} cannot be read: expected key=value, such as --set seed=1")
        settings[key.strip()] = strict_yaml.parse(text, f"The value of --set {pair!r}")
    return settings


def split(settings: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part settings without and with a prefix such as "model", which those with it lose."""
    inside = {key.removeprefix(f"{prefix}."): value for key, value in settings.items() if key.startswith(f"{prefix}.")}
    return {key: value for key, value in settings.items() if not key.startswith(f"{prefix}.")}, inside
