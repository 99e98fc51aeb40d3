"""What the stage of instances kept, dropped and failed at, and when that is too much.

Read this to see what the numbers of instances.json count.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from selfportrait.asking.pictures import FAILED
from selfportrait.instance_judges.base import TIE
from selfportrait.stages.parts import Yield, count, reasons

__all__ = ["NOTHING_NAMED", "NOT_FOUND", "check_failed", "check_outage", "counts_of", "summary_of"]

NOTHING_NAMED, NOTHING_LEFT = "no instance", "no instance left"
NOT_FOUND = {(False, True): "not found in chosen", (True, False): "not found in rejected", (False, False): "not found"}
NO_FAILURE = (NOTHING_NAMED, TIE, *NOT_FOUND.values())
OUTAGE = 10  # requests without a reply in one part, and more than half: somebody should look before more are sent

Row = dict[str, Any]


def counts_of(rows: Sequence[Row]) -> Yield:
    """What a part kept and dropped; `asked` are planner and judge, once a pair and once an instance found in both."""
    instances = [one for row in rows for one in row["instances"]]
    bare = [row for row in rows if all(one["reason"] for one in row["instances"])]
    left_out = Counter(one["reason"] for one in instances if one["reason"])
    failed = Counter(one["reason"] for one in (*rows, *instances) if one["reason"] not in (None, *NO_FAILURE))
    return {
        "pairs": count(len(rows) - len(bare), Counter(row["reason"] or NOTHING_LEFT for row in bare)),
        "instances": count(len(instances) - left_out.total(), left_out),
        "conflicts": sum(one["is_conflict"] is True for one in instances),
        "asked": len(rows) + sum(one["is_swapped"] is not None for one in instances),
        "failed": dict(failed),
    }


def summary_of(counts: Yield) -> Yield:
    """The counts of all parts, with the share of instances in conflict and of pairs that have an instance."""
    found = counts or counts_of([])
    kept, num_pairs = found["instances"]["kept"], found["pairs"]["kept"] + sum(found["pairs"]["dropped"].values())
    return {
        **found,
        "conflict_rate": found["conflicts"] / kept if kept else None,
        "coverage": found["pairs"]["kept"] / num_pairs if num_pairs else None,
    }


def check_outage(counts: Yield, first: str, last: str) -> None:
    """Refuse a part in which most requests got no reply; raises ValueError with its first and last pair."""
    silent = {reason: number for reason, number in counts["failed"].items() if reason.startswith(FAILED)}
    if sum(silent.values()) >= OUTAGE and sum(silent.values()) > counts["asked"] / 2:
        raise ValueError(
            f"the instances of the pairs {first} to {last}: {sum(silent.values())} of {counts['asked']} requests got "
            f"no reply ({reasons(silent)}), and nothing of them was written: see that the model answers, and run the "
            "same command again"
        )


def check_failed(found: Yield, max_missing: float) -> None:
    """Refuse a table of which more than a share of all requests failed; raises ValueError with the reasons."""
    failed = sum(found["failed"].values())
    if failed > max_missing * found["asked"]:
        raise ValueError(
            f"the instances: {failed} of {found['asked']} requests failed ({reasons(found['failed'])}), more than "
            f"recipe.max_missing = {max_missing:g} allows"
        )
