"""summary.json from hand-written tables."""

import json
from pathlib import Path

import pytest
from PIL import Image

from selfportrait import store, summary

ROUND = "round-0"


def write_evaluation(run: store.Run, name: str, verdicts: dict[str, list[bool | None]]) -> None:
    rows = [
        {
            "prompt_id": prompt,
            "prompt": prompt,
            "category": prompt.split("-")[0],
            "index": index,
            "seed": index,
            "image": Image.new("RGB", (2, 2)),
            "exact": exact,
            "score": None if exact is None else float(exact),
            "reason": "unreadable" if exact is None else None,
            "details": "{}",
        }
        for prompt, several in verdicts.items()
        for index, exact in enumerate(several)
    ]
    store.write_table(run.path(ROUND, "evaluation", name), 0, rows, store.EVALUATION)


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    """Two categories with four pictures a prompt: 2 of 8 and 4 of 4 right before, 5 of 8 and 3 of 3 after."""
    run = store.Run(tmp_path)
    write_evaluation(
        run, "before", {"color-1": [True, True, False, False], "color-2": [False] * 4, "shape-1": [True] * 4}
    )
    write_evaluation(
        run,
        "after",
        {"color-1": [True] * 4, "color-2": [True, False, False, False], "shape-1": [True, True, True, None]},
    )
    return run


def test_accuracies_pass_at_4_and_changes(run: store.Run) -> None:
    result = summary.write(run)
    assert json.loads(run.path("summary.json").read_text()) == result
    before, after = result["before"], result["after"]
    assert before["color"]["accuracy"] == 2 / 8
    assert after["color"]["accuracy"] == 5 / 8
    assert before["color"]["pass_at_4"] == 1 / 2
    assert after["color"]["pass_at_4"] == 1
    assert before["overall"]["accuracy"] == pytest.approx((2 / 8 + 1) / 2)
    assert (after["shape"]["n"], after["shape"]["missing"]) == (3, 1)
    assert after["shape"]["pass_at_4"] is None
    assert result["change"]["color"]["difference"] == pytest.approx(3 / 8)
    assert result["change"]["color"]["pass_at_4_difference"] == pytest.approx(1 / 2)
    assert result["change"]["shape"]["pass_at_4_difference"] is None
    for name in ("before", "after"):
        assert store.read_json(run.path(ROUND, "evaluation", f"{name}.json")) == result[name]


def test_seconds_add_up_over_restarts(run: store.Run) -> None:
    for seconds in (1.5, 2.25):
        store.append_jsonl(run.path("stages.jsonl"), {"stage": "evaluate before", "seconds": seconds})
    for step in range(3):
        line = {"step": step, "sample_s": 1.0, "judge_s": 0.5, "train_s": 2.0}
        store.append_jsonl(run.path(ROUND, "training", "timing.jsonl"), line)
    seconds = summary.write(run)["time_s"]
    assert seconds == {"evaluate before": 3.75, "sample": 3.0, "judge": 1.5, "train": 6.0}


def test_health_events_of_all_steps_are_listed(run: store.Run) -> None:
    event = {"name": "diversity_collapse", "step": 1, "value": 0.4, "threshold": 0.5}
    for step, events in enumerate([[], [event], []]):
        store.append_jsonl(run.path(ROUND, "training", "metrics.jsonl"), {"step": step, "events": events})
    assert summary.write(run)["health"] == [event]


def test_a_stage_is_written_down_when_it_ends(run: store.Run) -> None:
    with summary.stage(run, "nothing"):
        assert not run.path("stages.jsonl").exists()
    (record,) = store.read_jsonl(run.path("stages.jsonl"))
    assert record["stage"] == "nothing"
    assert 0 <= record["seconds"] < 60


def test_other_prompts_after_than_before_are_refused(run: store.Run) -> None:
    write_evaluation(run, "after", {"color-3": [True] * 4, "shape-1": [True] * 4})
    with pytest.raises(ValueError, match="only the same prompts"):
        summary.write(run)


def test_the_peak_memory_is_that_of_this_process(run: store.Run) -> None:
    assert 20 < summary.peak_memory_mb() < 100_000
