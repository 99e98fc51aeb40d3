"""Some groups of the training, candidate by candidate: what the judge said and what the loss was told.

Read this to see which groups the report shows.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow.parquet

from selfportrait import store
from selfportrait.report.form import finite
from selfportrait.report.reading import Picture, RunRecord, picture, read_table

__all__ = ["Group", "Member", "example_groups"]


@dataclass(frozen=True)
class Member:
    """One candidate: its score (None where the judge could not tell) and its advantage, with the bar's length."""

    picture: Picture
    alt: str
    score: float | None
    reason: str
    advantage: float
    bar_percent: float


@dataclass(frozen=True)
class Group:
    """All candidates of one prompt at one step, best first."""

    when: str
    step: int
    prompt: str
    is_kept: bool
    members: list[Member]


def example_groups(run: RunRecord) -> list[Group]:
    """The first trained-on group of the first, middle and last step, and the first group that was skipped.

    None where a recipe trains on pairs, whose table has other columns.
    """
    parts = store.parts(run.round / "preferences")
    if parts and "group_id" not in pyarrow.parquet.read_schema(parts[0]).names:
        return []
    rows = read_table(run.round / "preferences", ["candidate_id", "group_id", "step", "reward", "advantage", "kept"])
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group_id"], []).append(row)
    chosen = _choose(groups)
    ids = [row["candidate_id"] for _, group in chosen for row in group]
    candidates = _by_id(run, "candidates", "id", ["prompt", "index", "image"], ids)
    scores = _by_id(run, "scores", "candidate_id", ["value", "reason"], ids)
    return [_group(when, group, candidates, scores) for when, group in chosen]


def _choose(groups: dict[str, list[dict[str, Any]]]) -> list[tuple[str, list[dict[str, Any]]]]:
    first_kept: dict[int, list[dict[str, Any]]] = {}
    for group in groups.values():
        if group[0]["kept"]:
            first_kept.setdefault(group[0]["step"], group)
    steps = sorted(first_kept)
    chosen = []
    if steps:
        when = {steps[-1]: "Last step", steps[len(steps) // 2]: "Middle step", steps[0]: "First step"}
        chosen = [(when[step], first_kept[step]) for step in sorted(when)]
    skipped = next((group for group in groups.values() if not group[0]["kept"]), None)
    return [*chosen, ("Skipped", skipped)] if skipped else chosen


def _by_id(run: RunRecord, table: str, key: str, columns: list[str], ids: list[str]) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in read_table(run.round / table, [key, *columns], only=(key, ids))}


def _group(
    when: str,
    rows: list[dict[str, Any]],
    candidates: dict[str, dict[str, Any]],
    scores: dict[str, dict[str, Any]],
) -> Group:
    reach = max((abs(finite(row["advantage"]) or 0.0) for row in rows), default=0.0) or 1.0
    members = []
    for row in sorted(rows, key=_reward, reverse=True):
        candidate = candidates.get(row["candidate_id"], {})
        score = scores.get(row["candidate_id"], {})
        advantage = finite(row["advantage"]) or 0.0
        members.append(
            Member(
                picture=picture(candidate.get("image")),
                alt=f"Candidate {candidate.get('index', '')} for: {candidate.get('prompt', '')}",
                score=finite(score.get("value", row["reward"])),
                reason=score.get("reason") or "",
                advantage=advantage,
                bar_percent=round(50 * abs(advantage) / reach, 1),
            )
        )
    prompt = next(
        (str(candidates[row["candidate_id"]]["prompt"]) for row in rows if row["candidate_id"] in candidates), ""
    )
    return Group(when, rows[0]["step"], prompt, bool(rows[0]["kept"]), members)


def _reward(row: dict[str, Any]) -> float:
    """Missing rewards sort last."""
    reward = finite(row["reward"])
    return float("-inf") if reward is None else reward
