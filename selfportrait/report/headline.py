"""The top of the page in words and numbers: what ran, what changed, and the same by category.

Read this to see how the report words a result, above all one that may be chance.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from selfportrait.report.charts import accuracy_chart, change_chart
from selfportrait.report.form import finite, number, plain
from selfportrait.report.pictures import Changes
from selfportrait.report.reading import RunRecord, accuracies, accuracies_by_round
from selfportrait.report.units import Unit, judged_by, unit_of
from selfportrait.watched import is_note

__all__ = ["Categories", "Headline", "category_rows", "headline", "other_categories", "verdict", "what_ran"]


@dataclass(frozen=True)
class Headline:
    """The trained category before and after; `after` and `change` are empty until they are measured."""

    category: str
    before: dict[str, Any]
    after: dict[str, Any]
    change: dict[str, Any]
    verdict: str
    tone: str
    unit: Unit


@dataclass(frozen=True)
class Categories:
    """The number of each category: rows for the table, and the charts (None where nothing was measured)."""

    rows: list[dict[str, Any]]
    chart: Markup | None
    change_chart: Markup | None
    is_paired: bool
    has_passes: bool
    unit: Unit


def what_ran(run: RunRecord) -> dict[str, Any]:
    """The header: a name, one sentence on what ran, and how far it came."""
    settings = run.settings
    recipe = settings.get("recipe", {})
    model = settings.get("model", {})
    steps_done = sum(len({row.get("step") for row in one.metrics if not is_note(row)}) for one in run.rounds)
    return {
        "name": str(run.config.get("name") or run.folder.name),
        "sentence": _sentence_of_rounds(settings) if run.is_in_rounds else _sentence(settings),
        "model": str(model.get("path") or model.get("name") or "unknown"),
        "seed": run.seed,
        "recipe": str(recipe.get("name") or "unknown"),
        "judge": str(settings.get("judge", {}).get("name") or "unknown"),
        "scored_by": judged_by(settings),
        "steps_done": steps_done,
        "steps": steps * (recipe.get("rounds") or 1) if (steps := recipe.get("steps")) else None,  # of all rounds
        "rounds_done": len(accuracies_by_round(run)),
        "rounds": recipe.get("rounds"),
        "is_finished": run.is_finished,
    }


def _sentence(settings: dict[str, Any]) -> str:
    """One sentence for somebody who does not know the configuration."""
    recipe, prompts = settings.get("recipe", {}), settings.get("prompts", {})
    categories = prompts.get("categories") or [prompts.get("category")]
    kind = f"{plain(categories[0])} prompts" if len(categories) == 1 and categories[0] else "prompts"
    how_many = f"{recipe['group_size']} candidates" if "group_size" in recipe else "a group of candidates"
    each = f"each of {recipe['prompts_per_step']} {kind}" if "prompts_per_step" in recipe else f"each of its {kind}"
    steps = f"in each of {recipe['steps']} steps" if "steps" in recipe else "in each step"
    judge = settings.get("judge", {}).get("name", "its judge")
    return (
        f"The text-to-image model {_model_name(settings)} trained on its own pictures: {steps} it drew {how_many} for "
        f"{each}, {judge} scored them, and {recipe.get('name', 'the recipe')} moved the model towards the candidates "
        "that scored above their group’s average and away from those below."
    )


def _sentence_of_rounds(settings: dict[str, Any]) -> str:
    """The same for a run in rounds, which learns from pairs."""
    if "rounds" not in settings["recipe"]:
        return _sentence_of_pairs(settings)
    rounds = settings["recipe"]["rounds"]
    how = "to draw. It" if rounds == 1 else f"to draw in {number(rounds)} rounds. In each it"
    start = "" if rounds == 1 else " A round starts from the model that the one before it left."
    judge, selection, loss = (settings.get(name, {}).get("name") for name in ("judge", "selection", "loss"))
    terms = settings.get("loss", {}).get("terms")
    losses = " and ".join(terms) if isinstance(terms, dict) else loss
    perturbed = " and of perturbed ones that no longer say the same" if settings.get("perturbation") else ""
    return (
        f"The model {_model_name(settings)} taught itself {how} drew pictures of its prompts{perturbed}, "
        f"{judge or 'its judge'} scored them, {selection or 'the selection'} paired a chosen picture with a rejected "
        f"one, and {losses or 'the loss'} moved the model towards the chosen.{start}"
    )


def _sentence_of_pairs(settings: dict[str, Any]) -> str:
    """The same for a run of one round, on pairs that were given, that the model drew, or of its sampler's steps."""
    given, judge, selection, loss = (
        settings.get(name, {}).get("name") for name in ("preferences", "judge", "selection", "loss")
    )
    if settings["recipe"]["name"] == "spo":
        pairs = f"pairs of its sampler's next steps, judged by {judge or 'its judge'}"
    elif given:
        pairs = f"pairs of pictures that {given} gave"
    else:
        pairs = (
            f"pairs of its own pictures, which {judge or 'its judge'} scored and {selection or 'the selection'} paired"
        )
    return (
        f"The text-to-image model {_model_name(settings)} learnt from {pairs}: {loss or 'the loss'} moved it towards "
        "the chosen."
    )


def _model_name(settings: dict[str, Any]) -> str:
    path = settings.get("model", {}).get("path") or settings.get("model", {}).get("name") or "model"
    return Path(path).name if Path(path).is_absolute() else str(path)


def headline(run: RunRecord) -> Headline:
    """Before, after and change of the trained category, with the verdict its interval allows."""
    category = run.trained_category
    change = run.summary.get("change", {}).get(category, {})
    before, after = (accuracies(run, when).get(category, {}) for when in ("before", "after"))
    words, tone = verdict(change, has_after=bool(after))
    return Headline(category, before, after, change, words, tone, unit_of(before, after))


def verdict(change: dict[str, Any], *, has_after: bool) -> tuple[str, str]:
    """What the interval of a change allows to say, and the tone to say it in: good, bad or open."""
    low, high = finite(change.get("low")), finite(change.get("high"))
    if not has_after:
        return "Not measured after training yet.", "open"
    if low is None or high is None:
        return "No interval of the difference was recorded.", "open"
    if low > 0:
        return "The whole interval is above zero: an improvement.", "good"
    if high < 0:
        return "The whole interval is below zero: it got worse.", "bad"
    return "The interval contains zero: the difference may be chance.", "open"


def other_categories(run: RunRecord) -> dict[str, Any]:
    """The least favourable change among the categories that were not trained; empty where none was measured."""
    skipped = {run.trained_category, "overall"}
    changes = {name: finite(row.get("difference")) for name, row in run.summary.get("change", {}).items()}
    others = {name: value for name, value in changes.items() if name not in skipped and value is not None}
    if not others:
        return {}
    name = min(others, key=lambda key: others[key])
    row = run.summary["change"][name]
    unit = unit_of(*(accuracies(run, when).get(name, {}) for when in ("before", "after")))
    return {"category": name, "difference": others[name], "low": row.get("low"), "high": row.get("high"), "unit": unit}


def category_rows(run: RunRecord, changes: dict[str, Changes]) -> Categories:
    """One row a category: the trained one first, overall last."""
    before, after = accuracies(run, "before"), accuracies(run, "after")
    trained = run.trained_category
    names = sorted(before or after, key=lambda name: (name == "overall", name != trained))
    rows = [
        {
            "name": name,
            "is_trained": name == trained and name != "overall",
            "before": before.get(name, {}),
            "after": after.get(name, {}),
            "change": run.summary.get("change", {}).get(name, {}),
            "tone": verdict(run.summary.get("change", {}).get(name, {}), has_after=name in after)[1],
            "changes": changes.get(name),
            "unit": unit_of(before.get(name, {}), after.get(name, {})),
        }
        for name in names
    ]
    has_change = any(row["change"] for row in rows)
    unit = unit_of(*before.values(), *after.values())
    is_share = not unit.is_score
    return Categories(
        rows=rows,
        chart=accuracy_chart(rows, _accuracy_text(rows, unit), is_share=is_share) if rows else None,
        change_chart=change_chart(rows, _change_text(rows, unit), is_share=is_share) if has_change else None,
        is_paired=bool(changes),
        has_passes=any(finite(row[when].get("pass_at_4")) is not None for row in rows for when in ("before", "after")),
        unit=unit,
    )


def _accuracy_text(rows: list[dict[str, Any]], unit: Unit) -> str:
    """What the chart shows, for a reader who cannot see it; the intervals are in the table."""
    ends = [[row["unit"].value(row[when].get("accuracy")) for when in ("before", "after")] for row in rows]
    parts = [f"{plain(row['name'])} {' to '.join(both)}" for row, both in zip(rows, ends, strict=True)]
    return f"{unit.name.capitalize()} by category, before to after: " + ", ".join(parts) + "."


def _change_text(rows: list[dict[str, Any]], unit: Unit) -> str:
    parts = [f"{plain(row['name'])} {row['unit'].change(row['change'].get('difference'))}" for row in rows]
    end = "" if unit.is_score else ", in points"
    return f"Change of {unit.name} by category{end}: " + ", ".join(parts) + "."
