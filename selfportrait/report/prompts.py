"""Some prompts of each round with what was made of them: questions, perturbed and detailed versions.

Read this to see which prompts the report shows.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from selfportrait.report.form import plain
from selfportrait.report.reading import Round, RunRecord, read_table, shown_rounds
from selfportrait.report.wording import Piece, edited, whole
from selfportrait.seeds import derive

__all__ = ["Family", "PromptsOfRound", "Version", "example_prompts", "origin"]

SHOWN = 4  # base prompts a round
COLUMNS = ["id", "text", "category", "questions", "parent", "role"]
WRITERS = {
    "prompts": "base prompts",
    "questions": "questions",
    "perturbation": "perturbed prompts",
    "densification": "detailed prompts",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """A perturbed prompt, or any other that was made from a base prompt: by which edit, in which slot, in detail."""

    role: str
    pieces: list[Piece]
    detailed: list[str]


@dataclass(frozen=True)
class Family:
    """A base prompt with its questions and its versions."""

    text: str
    category: str
    questions: list[Row]
    versions: list[Version]


@dataclass(frozen=True)
class PromptsOfRound:
    """A round's prompts in numbers, and some of them."""

    name: str
    folder: str
    num_base: int
    num_perturbed: int
    num_detailed: int
    categories: list[tuple[str, int]]
    families: list[Family]


def example_prompts(run: RunRecord) -> list[PromptsOfRound]:
    """Of each round some base prompts, drawn by the run's seed; rounds without prompts are left out."""
    if not run.is_in_rounds:
        return []
    found = [(one, read_table(one.folder / "prompts", COLUMNS)) for one in shown_rounds(run)]
    return [_of_round(one, rows, run.seed or 0) for one, rows in found if rows]


def origin(run: RunRecord) -> str:
    """Where prompts, questions and versions come from, in one sentence, by the names of the components."""
    parts = [
        f"{what} by {settings['name']}"
        for section, what in WRITERS.items()
        if (settings := run.settings.get(section, {})).get("name")
    ]
    return f"From these components: {', '.join(parts)}." if parts else ""


def _of_round(one: Round, rows: list[Row], seed: int) -> PromptsOfRound:
    bases = [row for row in rows if not row["role"]]
    chance = random.Random(derive(seed, one.index, "report", "prompts"))
    shown = sorted(chance.sample(range(len(bases)), min(SHOWN, len(bases))))
    children: dict[str, list[Row]] = {}
    for row in rows:
        if row["role"]:
            children.setdefault(row["parent"] or "", []).append(row)
    kinds = Counter(_role(row)[0] for row in rows)
    return PromptsOfRound(
        name=one.name,
        folder=one.folder.name,
        num_base=len(bases),
        num_perturbed=kinds["perturbed"],
        num_detailed=kinds["dense"] + kinds["dense-perturbed"],
        categories=Counter(plain(row["category"] or "no category") for row in bases).most_common(),
        families=[_family(bases[place], children) for place in shown],
    )


def _role(row: Row) -> tuple[str, str, str]:
    """What a prompt was made to be, in which slot, by which edit: "perturbed 1 swap" in three parts."""
    kind, _, rest = (row["role"] or "").partition(" ")
    slot, _, edit = rest.partition(" ")
    return kind, slot, edit


def _family(base: Row, children: dict[str, list[Row]]) -> Family:
    made = children.get(base["id"], [])
    detailed = {_role(row)[1]: row["text"] for row in made if _role(row)[0] == "dense"}
    versions = [_version(base, row, detailed, children.get(row["id"], [])) for row in made if _role(row)[0] != "dense"]
    if not versions:
        versions = [Version("in detail", whole(text), []) for text in detailed.values()]
    return Family(base["text"], base["category"] or "", base["questions"] or [], versions)


def _version(base: Row, row: Row, detailed: dict[str, str], children: list[Row]) -> Version:
    """A perturbed prompt with the detailed texts of its slot, the base prompt's first."""
    kind, slot, edit = _role(row)
    if kind != "perturbed":
        return Version(row["role"], whole(row["text"]), [])
    role = ", ".join(part for part in (f"slot {slot}", edit) if part)
    texts = [detailed.get(slot, ""), *(child["text"] for child in children)]
    return Version(role, edited(base["text"], row["text"]), [text for text in texts if text])
