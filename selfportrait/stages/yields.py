"""yield.json: what each stage of a round kept, what it dropped, and for which reasons.

Read this to see what its numbers count.
"""

from collections import Counter

from selfportrait import store
from selfportrait.stages.parts import Yield, count, read_counts, reasons
from selfportrait.stages.rounds import Round
from selfportrait.stages.scores import read_scores

__all__ = ["check_pairs", "write_yield"]


def write_yield(at: Round) -> Yield:
    """Gather the counts of the stages of a round that have run, and write them into its yield.json.

    Prompts and questions count base prompts, perturbations and densifications slots, preferences prompts that were
    dropped and pairs that were kept, masks pairs.
    """
    found = read_counts(at.prompts)
    if store.parts(at.candidates):
        found["candidates"] = count(store.read_table(at.candidates, ["id"]).num_rows)
    if store.parts(at.scores):
        scores = [score for _, score in read_scores(at.scores)]
        missing = Counter(score.reason or "no reason given" for score in scores if score.value is None)
        found["scores"] = count(len(scores) - missing.total(), missing)
    for name, folder in (("preferences", at.preferences), ("masks", at.masks)):
        if store.parts(folder):
            found[name] = read_counts(folder)
    store.write_json(at.folder / "yield.json", found)
    return found


def check_pairs(found: Yield, min_pairs: int, warning: str | None = None) -> None:
    """Raise ValueError where a round has fewer pairs than it should, with everything that was lost on the way."""
    num_pairs = found["masks" if "masks" in found else "preferences"]["kept"]
    if num_pairs >= min_pairs:
        return
    lost = "; ".join(f"{name} kept {one['kept']}, dropped {reasons(one['dropped'])}" for name, one in found.items())
    raise ValueError(
        f"there are {num_pairs} pairs to train on, and recipe.min_pairs = {min_pairs} ({lost}). "
        f"{warning + ' ' if warning else ''}Give more prompts or candidates, a selection that keeps more, or a model "
        "that answers better"
    )
