"""A few pairs with their pictures and instances, kept in the run so that its report can show them.

Read this to see which ones: the first of their source, so nobody's eye has chosen them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from selfportrait import images, processes, store
from selfportrait.preferences.base import PreferenceSource, Reading
from selfportrait.types import Instance, PreferencePair

__all__ = ["check_have_instances", "keep_examples"]

LOOKED_AT = 2000  # pairs from the start of the source, whose pictures stay encoded
WITH_CONFLICT, WITHOUT = 4, 2

Instances = Mapping[str, Sequence[Instance]] | None


def check_have_instances(source: PreferenceSource) -> None:
    """Refuse pairs of which none of the first has an instance, for weights that are made of them; raises ValueError."""
    if not any(pair.instances for pair in islice(Reading(source, stop=source.num_rows), LOOKED_AT)):
        raise ValueError(
            f"weights: they are made of instances, and none of the first {LOOKED_AT} pairs of {source.path} has any; "
            "give the sections planner, detector and instance_judge, which find them, pairs that bring them, or no "
            "weights"
        )


def keep_examples(source: PreferenceSource, instances: Instances, folder: Path) -> None:
    """Write the first pairs of a source with a conflict and the first without one as one part of examples/.

    `instances` are those of each pair by its id; None for those that the pairs bring.
    """
    processes.by_main(lambda: _keep(source, instances, folder))


def _keep(source: PreferenceSource, instances: Instances, folder: Path) -> None:
    if not store.has_part(folder, 0):
        store.write_table(folder, 0, list(_rows(source, instances)), store.EXAMPLES)


def _rows(source: PreferenceSource, instances: Instances) -> Iterator[dict[str, Any]]:
    """Those with a conflict first; each of another prompt."""
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    wanted, prompts = {True: WITH_CONFLICT, False: WITHOUT}, set()
    for pair in islice(Reading(source, stop=source.num_rows), LOOKED_AT):
        own = pair.instances if instances is None else instances.get(pair.id, ())
        rows = found[has_conflict := any(one.is_conflict for one in own)]
        if not own or len(rows) == wanted[has_conflict] or pair.prompt in prompts:
            continue
        with suppress(ValueError, OSError):  # a picture that cannot be read is counted where pairs are encoded
            rows.append(_row(pair, own))
            prompts.add(pair.prompt)
    yield from found[True] + found[False]


def _row(pair: PreferencePair, instances: Sequence[Instance]) -> dict[str, Any]:
    return {
        "pair_id": pair.id,
        "prompt": pair.prompt,
        "chosen": {"bytes": images.to_png(pair.chosen.read()), "path": None},
        "rejected": {"bytes": images.to_png(pair.rejected.read()), "path": None},
        "instances": [asdict(one) for one in instances],
    }
