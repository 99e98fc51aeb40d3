"""`selfportrait pairs`: preference pairs in and out; commands/preferences.py does the work."""

import json
from pathlib import Path
from typing import Annotated

import typer

from selfportrait import config, console
from selfportrait.commands import pairs as key_values
from selfportrait.options import AsJson, Settings, example

__all__ = ["preference_pairs"]

preference_pairs = typer.Typer(
    rich_markup_mode="rich",
    help="Preference pairs: look through a dataset of them, ask whether a judge agrees, or take a run's elsewhere.",
)


@preference_pairs.command(
    epilog=example(
        "pairs check pick_a_pic --set path=pickapic_v2 --set split=train",
        "pairs check hpd --set path=HPDv2/test.json --decode",
        "pairs check run --set path=runs/mine --json",
    )
)
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from `selfportrait components preferences`.")],
    settings: Settings = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every picture; this takes long.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a dataset from end to end: how many of its rows are pairs to train on, and why the others are not."""
    section = config.bind_section("preferences", {"name": name, **key_values.parse(settings or [])})
    from selfportrait.commands import preferences as command

    counts = command.check(section.build(), decode=decode)
    if as_json:
        console.echo(json.dumps(counts))
        return
    console.echo(f"{counts['kept']} pairs")
    for reason, count in counts["dropped"].items():
        console.echo(f"{count} dropped: {reason}")


@preference_pairs.command(
    epilog=example(
        "pairs agreement hpd --set path=HPDv2/test.json --judge hps --set judge.path=HPS_v2.1_compressed.pt",
        "pairs agreement pick_a_pic --set path=pickapic_v2 --set split=test_unique --judge pick_score --tie 0.1",
    )
)
def agreement(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from `selfportrait components preferences`.")],
    judge: Annotated[str, typer.Option("--judge", metavar="JUDGE", help="From `selfportrait components judges`.")],
    settings: Settings = None,
    tie: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Count ties too: the judge's where the chances are no further apart."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how often a judge prefers the picture that people preferred, with a 95 % interval over prompts.

    --set takes settings of the dataset, and with `judge.` in front those of the judge. Without --tie, pairs that people
    called equal are left out of the pairs' number.
    """
    console.silence_libraries()
    of_dataset, of_judge = key_values.split(key_values.parse(settings or []), "judge")
    section = config.bind_section("judge", {"name": judge, **of_judge})
    if section.takes_policy:
        raise ValueError(f"The judge {judge} is the model itself, and here is none: take another one")
    source = config.bind_section("preferences", {"name": name, **of_dataset}).build()
    from selfportrait.commands import agreement as command

    found = command.agreement(source, section.build(), tie=tie)
    if as_json:
        console.echo(json.dumps(found))
    else:
        console.show(command.table(found))


@preference_pairs.command(
    epilog=example("pairs export runs/mine mine.parquet", "pairs export runs/mine plain.parquet --round 0 --plain")
)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that has pairs.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A new .parquet file.")],
    rounds: Annotated[
        list[int] | None, typer.Option("--round", min=0, help="Only this round; may be given several times.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Pictures as bare bytes, as Pick-a-Pic has them; not for `datasets`.")
    ] = False,
) -> None:
    """Write the pairs of a run in the columns of Pick-a-Pic, with pictures that the library `datasets` sees as such."""
    from selfportrait.commands import preferences as command

    counts = command.export(run, out, rounds=rounds or [], is_plain=plain)
    console.echo(f"{counts['kept']} pairs in {out}")
