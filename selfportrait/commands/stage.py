"""`selfportrait stage`: one stage of a run at a time, with tables of the run or with what the user brings.

Read this to see in which order things are checked: a user's files before the weights load, the run folder after them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from selfportrait import components, processes, store
from selfportrait import stages as tables
from selfportrait.commands import imagefolder, own_files
from selfportrait.commands.improve import opened
from selfportrait.config import Config
from selfportrait.recipes.self_improve import Numbers, Round, Team, check

__all__ = ["Name", "Own", "own_pairs", "own_pictures", "own_prompts", "own_scores", "run"]

Name = Literal["prompts", "draw", "judge", "pair", "train"]
RECIPE = "self_improve"
STEPS: dict[str, Callable[[Round], None]] = {
    "prompts": Round.write,
    "draw": Round.sample,
    "judge": Round.judge,
    "pair": Round.pair,
    "train": Round.train,
}
NEEDED = {"draw": "prompts", "judge": "candidates", "pair": "scores", "train": "preferences"}
MADE_BY = {"prompts": "prompts", "candidates": "draw", "scores": "judge", "preferences": "pair"}


class Own(NamedTuple):
    """What a user brings: the table that it becomes, the file that lists it, and how it is written into a round."""

    table: str
    listing: Path
    write: Callable[[Round], None]
    made_before: Sequence[str] = ()


Reader = Callable[[Team], Own]
"""Reads and checks a user's file; the model is not loaded yet."""


def run(name: Name, config: Config, folder: Path, index: int, read: Reader | None = None) -> Path:
    """Do one stage of a round; returns the folder of the table it made."""
    team, numbers = _team(config)
    check(team, numbers, config.seed)
    own = None if read is None else read(team)
    with opened(config, folder) as within:
        return _do(name, team, numbers, within, config.seed, index, own)


def _team(config: Config) -> tuple[Team, Numbers]:
    recipe = config.sections["recipe"]
    if recipe.resolved["name"] != RECIPE:
        raise ValueError(
            f"recipe.name = {recipe.resolved['name']}: only {RECIPE} has stages that are run one at a time; use "
            "selfportrait improve"
        )
    built, settings = config.build(), recipe.settings
    schedule = ("steps", "epochs", "batch_size", "pairs_per_forward", "checkpoint_every", "ema_decay")
    own = [name for name in Numbers._fields if name != "schedule"]
    numbers = Numbers(tables.Schedule(*(settings[name] for name in schedule)), *(settings[name] for name in own))
    return Team._make(built.get(name) for name in Team._fields), numbers


def _do(name: Name, team: Team, numbers: Numbers, within: store.Run, seed: int, index: int, own: Own | None) -> Path:
    now = Round(team, numbers, within, seed, index)
    if own is None:
        _check_table(now, name)
    earlier = [Round(team, numbers, within, seed, number) for number in range(index)]
    for one in earlier:
        if not one.at.training.is_dir():
            raise ValueError(f"{one.at.folder} is not trained: run selfportrait stage train --round {one.index} first")
    team.model.load()
    for one in earlier:
        one.train()  # it only takes up what training came to
    if own is not None:
        processes.by_main(partial(_give, now, own))
    if name == "train" and own is not None:
        now.pair()  # the masks, where the weights need them
    STEPS[name](now)
    if name == "train":
        processes.by_main(lambda: team.model.save(within.path("model")))
        return within.path("model")
    made = {step: table for table, step in MADE_BY.items()}
    return now.at.folder / made[name]


def _give(now: Round, own: Own) -> None:
    with tables.giving(now.at, own.table, own.listing, own.made_before) as is_missing:
        if is_missing:
            own.write(now)


def _check_table(now: Round, name: Name) -> None:
    table = NEEDED.get(name)
    if table is not None and not store.parts(now.at.folder / table):
        raise ValueError(
            f"{now.at.folder} has no {table}: run selfportrait stage {MADE_BY[table]} first, or bring your own"
        )


# What a user brings


def own_prompts(file: Path) -> Reader:
    """Prompts of a file, instead of those of the config; the config's questions and rewrites are written about them."""

    def read(team: Team) -> Own:
        source = components.find("prompts", "file")(path=str(file))
        for prompt in source():
            _check_length(team.model, prompt.text, file)
        return Own("prompts", file, lambda now: now.write(source))

    return read


def own_pictures(folder: Path) -> Reader:
    """Pictures of a folder with a metadata.jsonl, instead of those that the model would draw."""

    def read(team: Team) -> Own:
        return _of_pictures(team, "candidates", own_files.read_pictures(folder), folder / imagefolder.METADATA)

    return read


def own_scores(file: Path, images: Path | None) -> Reader:
    """Scores of the run's candidates by their ids, or of pictures that are brought with them."""

    def read(team: Team) -> Own:
        found = own_files.read_scores(file, images)
        if isinstance(found, list):
            return _of_pictures(team, "scores", found, file)
        return Own("scores", file, lambda now: tables.give_scores(now.at, found), ("prompts", "candidates"))

    return read


def own_pairs(file: Path, images: Path | None, moved_from: str) -> Reader:
    """Pairs of pictures, instead of those that a selection would choose."""

    def read(team: Team) -> Own:
        _check_encodes(team.model)
        found = own_files.read_pairs(file, images, moved_from)
        tables.check_given_pairs(team.model, found)
        return Own(
            "preferences",
            file,
            lambda now: tables.give_pairs(team.model, now.at, found, now.numbers.prompts_per_part),
        )

    return read


def _of_pictures(team: Team, table: str, found: list[tables.GivenPicture], listing: Path) -> Own:
    _check_encodes(team.model)
    tables.check_given_pictures(team.model, found)
    return Own(table, listing, lambda now: now.take(found))


def _check_encodes(model: Any) -> None:
    if not callable(getattr(model, "tokenize", None)):
        raise ValueError(
            f"model.name: a {type(model).__name__} cannot encode pictures that it did not draw; give a model that can, "
            "such as janus"
        )


def _check_length(model: Any, text: str, file: Path) -> None:
    try:
        model.encode([text])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
