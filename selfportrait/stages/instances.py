"""From pairs of pictures to their instances: what both show, where, and in which of them it is better.

Read this to see which instances are left out and under which reason, and which picture a judge is shown as A.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from PIL import Image

from selfportrait import processes, store
from selfportrait.boxes import problem
from selfportrait.detectors.base import Detector
from selfportrait.instance_judges.base import Comparison, InstanceJudge, Seen, Verdict
from selfportrait.planners.base import PicturePair, Plan, Planner
from selfportrait.preferences.base import PreferenceSource, Reading
from selfportrait.seeds import derive
from selfportrait.stages._instance_counts import (
    NOT_FOUND,
    NOTHING_NAMED,
    check_failed,
    check_outage,
    counts_of,
    summary_of,
)
from selfportrait.stages.parts import Yield, read_counts, shared_out, write_part
from selfportrait.types import Detection

__all__ = ["AnyPair", "Finders", "find_instances"]

UNREADABLE = "a picture cannot be read"
Row = dict[str, Any]


class AnyPicture(Protocol):
    """A picture that is read when it is needed."""

    def read(self) -> Image.Image:
        """The pixels; raises ValueError for a picture that cannot be decoded."""
        ...


class AnyPair(Protocol):
    """A preference between two pictures of a prompt, by an id of its own."""

    @property
    def id(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def chosen(self) -> AnyPicture: ...
    @property
    def rejected(self) -> AnyPicture: ...


class Finders(NamedTuple):
    """Who names instances, who finds them, and who compares them."""

    planner: Planner
    detector: Detector
    judge: InstanceJudge


class Compared(NamedTuple):
    """A comparison to be made, and the instance of the table that waits for its verdict."""

    instance: Row
    comparison: Comparison


def find_instances(
    finders: Finders,
    pairs: Sequence[AnyPair] | PreferenceSource,
    folder: Path,
    *,
    seed: int,
    max_missing: float = 0.01,
    pairs_per_part: int = 25,
) -> Yield:
    """Make the table instances/ of pairs, part by part, and beside it instances.json; returns what that holds.

    Each instance is a name that the planner gave, its box in both pictures, and whether the rejected picture's is the
    better one; one that is not found, tied or not judged keeps its reason. Which picture the judge sees as A is drawn
    by seed, pair and name. Of a source, a part is made of `pairs_per_part` rows, and no more are in memory. Raises
    ValueError for ids that repeat, for a table of other pairs, for a part in which most requests got no reply (it is
    not written, the same command does it again), and where more than `max_missing` of all requests failed.
    """
    if isinstance(pairs, Sequence):
        _check_ids(pairs)
    num_rows = len(pairs) if isinstance(pairs, Sequence) else pairs.num_rows
    slices = [slice(start, min(start + pairs_per_part, num_rows)) for start in range(0, num_rows, pairs_per_part)]
    _check_table(pairs, slices, folder)
    with shared_out("looking for instances", folder, [one.stop - one.start for one in slices]) as missing:
        for index in missing:
            some = _part(pairs, slices[index])
            rows = _rows(finders, some, seed)
            counts = counts_of(rows)
            if some:
                check_outage(counts, some[0].id, some[-1].id)
            write_part(folder, index, rows, store.INSTANCES, counts)
    found = summary_of(read_counts(folder))
    processes.by_main(lambda: store.write_json(folder.with_suffix(".json"), found))
    check_failed(found, max_missing)
    return found


def _part(pairs: Sequence[AnyPair] | PreferenceSource, rows: slice) -> Sequence[AnyPair]:
    if isinstance(pairs, Sequence):
        return pairs[rows]
    return list(Reading(pairs, start=rows.start, stop=rows.stop))


def _rows(finders: Finders, pairs: Sequence[AnyPair], seed: int) -> list[Row]:
    rows = [_row(finders, pair) for pair in pairs]
    shown = [(row, seen) for row, pair in zip(rows, pairs, strict=True) if (seen := _read(row, pair))]
    plans: list[Plan] = _each(finders.planner, [seen for _, seen in shown], "plans")
    for (row, _), plan in zip(shown, plans, strict=True):
        row["reason"], row["raw"] = plan.reason or (None if plan.names else NOTHING_NAMED), plan.raw
    _locate(finders.detector, shown, [list(dict.fromkeys(plan.names)) for plan in plans])
    compared = [one for row, seen in shown for one in _comparisons(row, seen, seed)]
    verdicts: list[Verdict] = _each(finders.judge, [one.comparison for one in compared], "verdicts")
    for one, verdict in zip(compared, verdicts, strict=True):
        one.instance.update(_judged(verdict, is_swapped=one.instance["is_swapped"]))
    return rows


def _row(finders: Finders, pair: AnyPair) -> Row:
    row: Row = {**dict.fromkeys(store.INSTANCES.names), "pair_id": pair.id, "prompt": pair.prompt, "instances": []}
    return row | {name: type(finder).__name__ for name, finder in finders._asdict().items()}


def _read(row: Row, pair: AnyPair) -> PicturePair | None:
    try:
        seen = PicturePair(pair.prompt, pair.chosen.read(), pair.rejected.read())
    except ValueError as error:
        row["reason"], row["raw"] = UNREADABLE, str(error)
        return None
    for name, picture in (("chosen", seen.chosen), ("rejected", seen.rejected)):
        row[f"{name}_width"], row[f"{name}_height"] = picture.size
    return seen


def _each(finder: Any, asked: Sequence[Any], what: str) -> list[Any]:
    """Ask a planner or a judge; raises ValueError where it returns another number than it was asked for."""
    found: list[Any] = finder(asked) if asked else []
    if len(found) != len(asked):
        raise ValueError(
            f"{type(finder).__name__} returned {len(found)} {what} for {len(asked)}; it must return one each, in order"
        )
    return found


def _locate(detector: Detector, shown: Sequence[tuple[Row, PicturePair]], names: Sequence[Sequence[str]]) -> None:
    """Put the instances of each pair into its row, with their boxes."""
    pictures = [picture for _, seen in shown for picture in (seen.chosen, seen.rejected)]
    found = detector(pictures, [several for several in names for _ in ("chosen", "rejected")]) if pictures else []
    if len(found) != len(pictures):
        raise ValueError(
            f"the detector {type(detector).__name__} returned {len(found)} lists for {len(pictures)} pictures; it must "
            "return one each, in order"
        )
    for (row, seen), several, chosen, rejected in zip(shown, names, found[::2], found[1::2], strict=True):
        _check_boxes(row, seen, chosen, rejected)
        row["instances"] = [_located(name, chosen, rejected) for name in several]


def _check_boxes(row: Row, seen: PicturePair, chosen: Sequence[Detection], rejected: Sequence[Detection]) -> None:
    for picture, detections in ((seen.chosen, chosen), (seen.rejected, rejected)):
        for detection in detections:
            if wrong := problem(detection.box, picture.size):
                raise ValueError(f"the pair {row['pair_id']}: {row['detector']} found {detection.name!r}, but {wrong}")


def _located(name: str, chosen: Sequence[Detection], rejected: Sequence[Detection]) -> Row:
    """The instance of that name, in each picture the detection of it that the detector is surest of."""
    instance: Row = dict.fromkeys(field.name for field in store.INSTANCES.field("instances").type.value_type)
    best = [
        max((one for one in several if one.name == name), key=lambda one: one.score, default=None)
        for several in (chosen, rejected)
    ]
    for side, detection in zip(("chosen", "rejected"), best, strict=True):
        if detection is not None:
            instance[f"{side}_box"], instance[f"{side}_confidence"] = list(detection.box), detection.score
    return {**instance, "name": name, "reason": NOT_FOUND.get((best[0] is not None, best[1] is not None))}


def _comparisons(row: Row, seen: PicturePair, seed: int) -> list[Compared]:
    found = []
    for instance in (one for one in row["instances"] if one["reason"] is None):
        instance["is_swapped"] = derive(seed, row["pair_id"], instance["name"], "which is A") % 2 == 1
        a, b = (
            Seen(picture, tuple(instance[box]))
            for picture, box in ((seen.chosen, "chosen_box"), (seen.rejected, "rejected_box"))
        )
        a, b = (b, a) if instance["is_swapped"] else (a, b)
        found.append(Compared(instance, Comparison(seen.prompt, instance["name"], a, b)))
    return found


def _judged(verdict: Verdict, *, is_swapped: bool) -> Row:
    if verdict.better is None:
        return {"reason": verdict.reason or "no reason given", "raw": verdict.raw}
    return {"is_conflict": verdict.better == ("A" if is_swapped else "B"), "raw": verdict.raw}


def _check_ids(pairs: Sequence[AnyPair]) -> None:
    """Refuse an id of two pairs; those of a source follow from the pair, so that equal ones are the same pair."""
    twice = [id_ for id_, number in Counter(pair.id for pair in pairs).items() if number > 1]
    if twice:
        raise ValueError(f"the pair {twice[0]} is there twice: give each pair an id of its own")


def _check_table(pairs: Sequence[AnyPair] | PreferenceSource, slices: Sequence[slice], folder: Path) -> None:
    if not slices:
        raise ValueError("there is no pair to look for instances in: give at least one")
    for index, rows in enumerate(slices):
        if store.has_part(folder, index):
            there = store.read_part(folder, index, ["pair_id"]).column("pair_id").to_pylist()
            if there != [pair.id for pair in _part(pairs, rows)]:
                raise ValueError(f"{folder} holds the instances of other pairs: give another folder, or those pairs")
    if len(store.parts(folder)) > len(slices) or store.has_part(folder, len(slices)):
        raise ValueError(f"{folder} holds the instances of more pairs: give another folder, or those pairs")
