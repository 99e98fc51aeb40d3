"""Judges that look at every evaluation of a run and never train its model: what each says of each picture.

Read this to see who looks, which judges are refused, and which scores are taken from before.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from selfportrait import images, store
from selfportrait.benchmarks.base import Benchmark
from selfportrait.config import Section
from selfportrait.score_cache import Key, ScoreCache, identity, is_known
from selfportrait.stages.parts import shared_out
from selfportrait.stages.scores import Judge, score
from selfportrait.types import Prompt, Score

__all__ = ["OWN", "Watch", "Watcher", "watch", "watchers"]

OWN = "judge"  # what the judge that trains the model is called among those that watch
NO_PICTURE = "there is no picture"
log = logging.getLogger(__name__)


class Watcher(NamedTuple):
    """A judge and its section, by which scores that it gave before are known again; none are without one."""

    judge: Judge
    section: Section | None = None


Watch = Mapping[str, Watcher]
"""Judges by the names that a config gives them."""


def watchers(watch: Watch | None, judge: Judge | None, benchmark: Benchmark) -> Watch:
    """Who looks at the evaluations: those of the config, and beside them the judge that trains the model.

    Where nobody watches the run's own judge looks at nothing either, nor does one that is the model in training: it
    changes with what it judges. Raises ValueError for a judge to whom none of the benchmark's prompts says anything.
    """
    if not watch:
        return {}
    prompts = benchmark.prompts()
    for label, one in watch.items():
        _check_prompts(label, one.judge, prompts)
    waits = isinstance(judge, partial) or getattr(judge, "policy", None) is not None
    return dict(watch) if judge is None or waits else {OWN: Watcher(judge), **watch}


def _check_prompts(label: str, judge: Any, prompts: Sequence[Prompt]) -> None:
    lacks = getattr(judge, "lacks", None)
    reasons = [lacks(prompt) for prompt in prompts] if lacks else []
    if reasons and all(reasons):
        raise ValueError(
            f"watch.{label}: it can judge a picture of none of the benchmark's {len(reasons)} prompts, of which the "
            f"first says: {reasons[0]}; leave it out, or measure with prompts that it can read"
        )


def watch(watchers: Watch, benchmark: Benchmark, evaluation: Path, folder: Path) -> None:
    """Have the judges look at the pictures of an evaluation, once each; makes the parts that are missing.

    A failed judgement is missing, with its reason, and stops nothing: it only watches.
    """
    by_id = {prompt.id: prompt for prompt in benchmark.prompts()}
    eyes = {label: _Eyes(watcher) for label, watcher in watchers.items()}
    with shared_out("watching", folder, [1] * len(store.parts(evaluation))) as missing:
        for index in missing:
            rows = store.read_part(evaluation, index, ["prompt_id", "index", "seed", "image"]).to_pylist()
            judged = [row for label, one in eyes.items() for row in _judged(label, one, rows, by_id)]
            store.write_table(folder, index, judged, store.WATCH)


def _judged(
    label: str, eyes: "_Eyes", rows: Sequence[Mapping[str, Any]], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    there = [row for row in rows if row["image"] is not None]
    scores = iter(eyes([(prompts[row["prompt_id"]], row["image"]["bytes"]) for row in there]))
    said = [Score(None, NO_PICTURE) if row["image"] is None else next(scores) for row in rows]
    return [
        {
            "prompt_id": row["prompt_id"],
            "index": row["index"],
            "seed": row["seed"],
            "judge": label,
            "value": one.value,
            "reason": one.reason,
            "details": json.dumps(dict(one.details), sort_keys=True),
        }
        for row, one in zip(rows, said, strict=True)
    ]


class _Eyes:
    """One judge with the scores that it gave before, in this run or another.

    The pictures of a part are taken from there all or not at all: a run that was killed judges the same ones together
    as one that was not. What judges on a server is not known, so nothing of it is kept.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.judge, self.section = watcher
        self.is_kept = self.section is not None and is_known(self.section)
        self.path: Path | None = None
        self.known: dict[Key, Score] = {}

    def __call__(self, shown: Sequence[tuple[Prompt, bytes]]) -> list[Score]:
        """The scores of pictures, given as their encoded bytes."""
        if not shown:
            return []
        keys = [Key(hashlib.sha256(data).hexdigest(), _text(prompt)) for prompt, data in shown] if self.is_kept else []
        if keys:
            self._open()
            if all(key in self.known for key in keys):
                return [self.known[key] for key in keys]
        pictures: list[Image.Image] = [images.from_bytes(data) for _, data in shown]
        scores = score(self.judge, [prompt for prompt, _ in shown], pictures)
        if keys:
            cache = self._open()  # only now is it known which weights judged
            cache.add((key, one) for key, one in zip(keys, scores, strict=True) if key not in self.known)
        return scores

    def _open(self) -> ScoreCache:
        assert self.section is not None
        cache = ScoreCache(ScoreCache.default_folder(), self.section.resolved["name"], identity(self.section))
        if cache.path != self.path:
            self.path, self.known = cache.path, cache.read()
        return cache


def _text(prompt: Prompt) -> str:
    """All that a judge may read of a prompt: its text, and what a benchmark says beside it."""
    beside = {"category": prompt.category, "questions": prompt.questions, "spec": prompt.spec}
    if not any(beside.values()):
        return prompt.text
    questions = [[one.text, one.answer] for one in prompt.questions]
    said = {"text": prompt.text, **beside, "questions": questions, "spec": dict(prompt.spec)}
    return json.dumps(said, sort_keys=True, ensure_ascii=False, default=str)
