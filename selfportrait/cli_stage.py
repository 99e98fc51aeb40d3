"""`selfportrait stage`: the options of the commands that do one stage of a run; commands/stage.py does the work."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from selfportrait import config, console, processes
from selfportrait.options import ConfigName, Overrides, RunFolder, example

__all__ = ["stage"]

stage = typer.Typer(
    rich_markup_mode="rich",
    help="One stage of a run at a time, with the run's tables or with prompts, pictures, scores or pairs of yours; "
    "`improve` with the same config and folder goes on from there.",
)
RoundIndex = Annotated[int, typer.Option("--round", min=0, help="Which round; those before it have to be trained.")]
OwnPrompts = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="FILE", help="Prompts of yours: .txt (one a line), .jsonl, .csv or .parquet."),
]
ImageFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where its pictures are; by default where the file is.")
]


def _stage(
    name: Literal["prompts", "draw", "judge", "pair", "train"],
    config_name: str,
    overrides: list[str] | None,
    run: Path | None,
    index: int,
    read: Callable[[Any], Any],
) -> None:
    """Do one stage; `read` makes the reader of what the user brings of the module that has them, or None."""
    with console.resumable(), processes.together(console.sentence):
        settings = config.load(config_name, overrides or [])
        folder = run or Path("runs") / Path(config_name).stem
        console.silence_libraries()
        checked = config.bind(settings)
        from selfportrait.commands import stage as command

        console.echo(str(command.run(name, checked, folder, index, read(command))))


@stage.command("prompts", epilog=example("stage prompts ospo-micro --run runs/mine"))
def stage_prompts(
    name: ConfigName,
    overrides: Overrides = None,
    prompts: OwnPrompts = None,
    run: RunFolder = None,
    index: RoundIndex = 0,
) -> None:
    """Write a round's prompts with their questions, and perturbed and detailed ones where the config has them."""
    _stage("prompts", name, overrides, run, index, lambda own: None if prompts is None else own.own_prompts(prompts))


@stage.command(
    epilog=example(
        "stage draw silmm-micro --run runs/mine", "stage draw silmm-micro --prompts prompts.txt --run runs/mine"
    )
)
def draw(
    name: ConfigName,
    overrides: Overrides = None,
    prompts: OwnPrompts = None,
    run: RunFolder = None,
    index: RoundIndex = 0,
) -> None:
    """Draw the candidates of a round's prompts, or of your own."""
    _stage("draw", name, overrides, run, index, lambda own: None if prompts is None else own.own_prompts(prompts))


@stage.command(
    "judge",
    epilog=example(
        "stage judge silmm-micro --run runs/mine", "stage judge silmm-micro --images pictures --run runs/mine"
    ),
)
def stage_judge(
    name: ConfigName,
    overrides: Overrides = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures of yours: a folder with a metadata.jsonl.")
    ] = None,
    run: RunFolder = None,
    index: RoundIndex = 0,
) -> None:
    """Score a round's candidates, or pictures of your own."""
    _stage("judge", name, overrides, run, index, lambda own: None if images is None else own.own_pictures(images))


@stage.command(
    epilog=example(
        "stage pair silmm-micro --run runs/mine", "stage pair silmm-micro --scores scores.csv --run runs/mine"
    )
)
def pair(
    name: ConfigName,
    overrides: Overrides = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Scores of yours, .csv, .jsonl or .parquet: candidate_id and score, or prompt, image and score.",
        ),
    ] = None,
    images: ImageFolder = None,
    run: RunFolder = None,
    index: RoundIndex = 0,
) -> None:
    """Choose pairs by a round's scores, or by your own."""
    _stage("pair", name, overrides, run, index, lambda own: None if scores is None else own.own_scores(scores, images))


@stage.command(
    epilog=example(
        "stage train silmm-micro --run runs/mine",
        "stage train silmm-micro --pairs pairs.csv --run runs/mine",
        "stage train ospo-janus-pro-7b --pairs train.json --images pictures --moved-from /data/old --run runs/ospo",
    )
)
def train(
    name: ConfigName,
    overrides: Overrides = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Pairs of yours, .csv, .jsonl or .parquet: prompt, chosen, rejected (pictures); or a list of OSPO's, "
            ".json.",
        ),
    ] = None,
    images: ImageFolder = None,
    moved_from: Annotated[
        str, typer.Option(metavar="PATH", help="What to leave out of the paths in a list of OSPO's.")
    ] = "",
    run: RunFolder = None,
    index: RoundIndex = 0,
) -> None:
    """Train on a round's pairs, or on your own, and save the model."""
    _stage(
        "train",
        name,
        overrides,
        run,
        index,
        lambda own: None if pairs is None else own.own_pairs(pairs, images, moved_from),
    )
