"""Arguments and options that several commands share, and the examples below a command's help."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "ConfigName", "Model", "Overrides", "RunFolder", "Seed", "Settings", "example"]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the component; may be given several times."),
]
Seed = Annotated[int, typer.Option(min=0, help="Every random choice follows from it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A folder, a hub id, an embedded name such as micro-sd3, or the folder of a run."
    ),
]
ConfigName = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A name from `selfportrait recipes`, or the path of a YAML file.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings to change, as section.key=value.")
]
RunFolder = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="The run folder; by default runs/ and the config's name.")
]


def example(*lines: str) -> str:
    """Commands to try, as the end of a help text."""
    return "\n\n".join(["[bold]Examples[/]", *(f"  selfportrait {line}" for line in lines)])
