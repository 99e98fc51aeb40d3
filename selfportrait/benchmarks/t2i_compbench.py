"""T2I-CompBench++ (https://arxiv.org/abs/2307.06350): eight categories of compositions, each with judges of its own.

Read this to see who judges which category; the formulas are in `_compbench.py`.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from selfportrait.benchmarks import _compbench as rules
from selfportrait.benchmarks import _files, _layouts, _parts, _results
from selfportrait.benchmarks._chunks import chunker as _chunker
from selfportrait.benchmarks._depth import Depth
from selfportrait.benchmarks._judged import one_by_one
from selfportrait.benchmarks._mllm import ATTRIBUTES, Mllm
from selfportrait.benchmarks.base import Row
from selfportrait.measures import OFFICIAL, Entry, Metric, entries_of_pictures, no_extras
from selfportrait.types import Detection, Prompt, Score

__all__ = ["T2iCompbench"]

SOURCE = "https://github.com/Karine-Huang/T2I-CompBench (examples/dataset, MIT)"
NUM_PROMPTS = 300
Category = Literal["color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex"]
ALL: tuple[Category, ...] = (
    "color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex",
)  # fmt: skip

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Drawn:
    """One picture, with its prompt and its number among the prompt's pictures."""

    prompt: Prompt
    index: int
    image: Image.Image


class T2iCompbench:
    """300 prompts a category, ten pictures each; a picture has a score in [0, 1], a category their mean.

    `path` is the folder of the published `<category>_val.txt`, with new_objects.txt for numeracy, and
    complex_val_spatial.txt and complex_val_action.txt for complex. color, shape and texture are judged by `vqa`, which
    answers yes or no about each noun chunk; spatial, 3d_spatial and numeracy by `detector` above `threshold` (its own
    where that is null), 3d_spatial also by `depth`; non_spatial by `clip`; complex by two or three of them. There is no
    official overall number, and none is given. Pictures are seeded 42, 43, ... 51, as the published script does.

    `official_quirks` keeps what the source does and its paper does not say: a 2D score below 0.5 is 0, the depth map is
    read transposed, in depth the last detection counts, answers are rounded to four decimals. `results` is the folder
    of the official layout in which the official scorers left their vqa_result.json.
    `mllm`, a vision-language model, judges every category in place of all these: it describes the picture and then
    grades it, unless `describes` is false, when it grades at once. Source of that: MLLM_eval/ of the repository.
    Differs from the source: UniDet, a detector whose code is not free, is replaced by another; noun chunks are by rule
    unless `chunker` is spacy.
    """

    metric: ClassVar[Metric] = Metric("mean score of the category's judges", None)

    def __init__(
        self,
        *,
        path: str | None = None,
        categories: Annotated[tuple[Category, ...], Field(min_length=1)] = ALL,
        vqa: str | dict[str, Any] = "blip_vqa",
        detector: str | dict[str, Any] = "owlv2",
        clip: str | dict[str, Any] = "clip_score",
        depth: str = "Intel/dpt-hybrid-midas",
        chunker: Literal["rule", "spacy"] = "rule",
        threshold: Annotated[float, Field(ge=0, lt=1)] | None = None,
        mllm: str | dict[str, Any] | None = None,
        describes: bool = True,
        official_quirks: bool = True,
        results: str | None = None,
        images_per_prompt: Annotated[int, Field(ge=1)] = 10,
    ) -> None:
        self.categories, self.chunker, self.threshold = categories, chunker, threshold
        self.official_quirks = official_quirks
        self._set = _parts.PromptSet([*_all_prompts(path, categories)], images_per_prompt)
        self._official = None if results is None else _results.compbench(results, images_per_prompt)
        self._vqa, self._clip = _parts.ByName("judges", vqa, ask="questions"), _parts.ByName("judges", clip)
        self._detector, self._depth = _parts.ByName("detectors", detector, threshold=threshold), Depth(depth)
        self._mllm = None
        if mllm is None and not describes:
            raise ValueError("benchmark.describes = false: it says how mllm judges, and none is given")
        if mllm is not None:
            self._mllm = Mllm(Mllm.by_name(mllm), describes=describes, official_quirks=official_quirks)

    def prompts(self) -> list[Prompt]:
        """The prompts, category by category in the files' order; `spec` is what the rules read in them."""
        return self._set.prompts

    seeds, is_held_out, check = _parts.seeds, _parts.is_held_out, _parts.check

    def ready(self) -> None:
        """Build the judges of the categories that are measured."""
        if self._official is not None:
            return
        _chunker(self.chunker)
        for part in {part.name: part for category in self.categories for part in self._judges(category)}.values():
            _parts.require_names(part, self._names() if part is self._detector else [])

    def _names(self) -> Iterator[str]:
        """What the detector is asked for."""
        for prompt in self._set.prompts:
            if prompt.category == "numeracy":
                yield from (rules.RENAMED.get(name, name) for name, _ in prompt.spec["objects"])
            elif prompt.category in ("spatial", "3d_spatial"):
                yield from prompt.spec["objects"]
            elif prompt.category == "complex" and prompt.spec["kind"] != "action":
                yield from filter(None, _chunker(self.chunker)(prompt.text).around)

    def protocol(self, category: str) -> str:
        """The judges of a category, and the chunker where it has a say."""
        if self._official is not None:
            return OFFICIAL
        if self._mllm is not None:
            chunker = f",chunker={self.chunker}" if category in ATTRIBUTES and self.chunker != "spacy" else ""
            return f"approx:{self._mllm.name}{chunker}" + ("" if self._mllm.describes else ",turns=1")
        names = [part.name for part in self._judges(category)]
        names += [Path(self._depth.path).name] if category == "3d_spatial" else []
        has_chunks = category in (*ATTRIBUTES, "complex") and self.chunker != "spacy"
        return f"approx:{'+'.join(names)}" + (f",chunker={self.chunker}" if has_chunks else "")

    def _judges(self, category: str) -> list[_parts.ByName]:
        if self._mllm is not None:
            return [self._mllm.part]
        if category in ATTRIBUTES:
            return [self._vqa]
        if category == "non_spatial":
            return [self._clip]
        return [self._vqa, self._detector, self._clip] if category == "complex" else [self._detector]

    def measure(self, prompts: Sequence[Prompt], images: Sequence[Sequence[Image.Image]]) -> list[Row]:
        """Judge each picture; one row a picture, in order."""
        if self._official is not None:
            return _results.measure(self._official, prompts, images)
        flat = [_Drawn(*one) for one in one_by_one(prompts, images)]
        rows: list[Row] = []
        for category, part in groupby(flat, key=lambda one: one.prompt.category):
            drawn = list(part)
            scores = self._judge_of(category)(drawn)
            rows += [_parts.row(one.prompt, one.index, score) for one, score in zip(drawn, scores, strict=True)]
        return rows

    def _judge_of(self, category: str) -> Callable[[Sequence[_Drawn]], list[Score]]:
        if self._mllm is not None:
            return functools.partial(self._graded, self._mllm, category)
        if category in ATTRIBUTES:
            return self._attributes
        own = {"spatial": self._in_plane, "3d_spatial": self._in_depth, "numeracy": self._numbers}
        return own.get(category) or {"non_spatial": self._cosines, "complex": self._complex}[category]

    def _graded(self, mllm: Mllm, category: str, drawn: Sequence[_Drawn]) -> list[Score]:
        """Have the vision-language model grade; noun chunks are those of the attributes' questions."""
        read = _chunker(self.chunker)
        texts = [one.prompt.text for one in drawn]
        chunks = [read(text).chunks if category in ATTRIBUTES else () for text in texts]
        return mllm(category, texts, [one.image for one in drawn], chunks)

    def _attributes(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """Multiply P(yes) over the noun chunks."""
        read = _chunker(self.chunker)
        asked = [[rules.question(chunk) for chunk in read(one.prompt.text).chunks[: rules.MAX_CHUNKS]] for one in drawn]
        found = _parts.answers(self._vqa.built, [one.image for one in drawn], asked)
        return [self._attribute(questions, p_yes) for questions, p_yes in zip(asked, found, strict=True)]

    def _attribute(self, questions: list[str], p_yes: list[Any]) -> Score:
        details = {"questions": questions, "p_yes": p_yes}
        if None in p_yes:
            return Score(None, f"no answer to {questions[p_yes.index(None)]!r}", details)
        return Score(rules.attribute_score(p_yes, official_quirks=self.official_quirks), None, details)

    def _in_plane(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """Place two things in the plane."""
        pairs = [rules.spatial_pair(one.prompt.text) for one in drawn]
        return self._placed(drawn, pairs)

    def _placed(self, drawn: Sequence[_Drawn], pairs: Sequence[rules.Objects]) -> list[Score]:
        found = self._detected(drawn, pairs)
        scores = []
        for one, pair, detections in zip(drawn, pairs, found, strict=True):
            relation = rules.relation_2d(one.prompt.text)
            value = rules.spatial_score_2d(
                pair, relation, detections, max(one.image.size), official_quirks=self.official_quirks
            )
            scores.append(Score(value, None, {"relation": relation, "objects": [*pair], **_seen(detections)}))
        return scores

    def _in_depth(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """Place two things one before the other."""
        pairs = [rules.spatial_pair(one.prompt.text) for one in drawn]
        found, maps = self._detected(drawn, pairs), self._depth([one.image for one in drawn])
        scores = []
        for one, pair, detections, depth in zip(drawn, pairs, found, maps, strict=True):
            relation = rules.relation_3d(one.prompt.text)
            value = rules.spatial_score_3d(pair, relation, detections, depth, official_quirks=self.official_quirks)
            scores.append(Score(value, None, {"relation": relation, "objects": [*pair], **_seen(detections)}))
        return scores

    def _numbers(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """Count each thing."""
        names = [[rules.RENAMED.get(name, name) for name, _ in one.prompt.spec["objects"]] for one in drawn]
        found = self._detected(drawn, names)
        return [
            Score(rules.numeracy_score(one.prompt.spec["objects"], detections), None, _seen(detections))
            for one, detections in zip(drawn, found, strict=True)
        ]

    def _cosines(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """The cosine of picture and prompt."""
        judge: _parts.Judge = self._clip.built
        return judge([one.prompt for one in drawn], [one.image for one in drawn])

    def _complex(self, drawn: Sequence[_Drawn]) -> list[Score]:
        """Two or three of the others; the prompt's adjectives are left out for CLIP."""
        read = _chunker(self.chunker)
        attributes = self._attributes(drawn)
        judge: _parts.Judge = self._clip.built
        bare = [Prompt(one.prompt.id, read(one.prompt.text).without_adjectives) for one in drawn]
        actions = judge(bare, [one.image for one in drawn])
        places = self._placed(drawn, [read(one.prompt.text).around for one in drawn])
        return [_together(one, *three) for one, *three in zip(drawn, attributes, places, actions, strict=True)]

    def _detected(self, drawn: Sequence[_Drawn], names: Sequence[Sequence[str | None]]) -> list[list[Detection]]:
        """Every thing of the names in each picture, the most confident first."""
        detector: _parts.Detector = self._detector.built
        asked = [list(dict.fromkeys(name for name in several if name is not None)) for several in names]
        found = detector([one.image for one in drawn], asked)
        limit = self.threshold or 0.0
        return [sorted((one for one in f if one.score > limit), key=lambda one: -one.score) for f in found]

    @staticmethod
    def entries(rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
        """A picture counts in its prompt's category."""
        return entries_of_pictures(rows)

    extras = staticmethod(no_extras)

    def files(self, prompt: Prompt, images: list[Image.Image]) -> dict[str, bytes]:
        """<category>/samples/<prompt>_<%06d>.png, by which the source knows prompt and order."""
        return _layouts.pictures(self.named(prompt)[: len(images)], images)

    def index(self, prompts: list[Prompt]) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def named(self, prompt: Prompt) -> list[str]:
        """The path of each picture; raises ValueError for a prompt with an underscore, at which the source cuts."""
        first = prompt.spec["row"] * self._set.images_per_prompt
        return [
            f"{prompt.category}/samples/{_layouts.file_name(prompt.text, f'_{first + index:06d}.png', '_')}"
            for index in range(self._set.images_per_prompt)
        ]


def _together(one: _Drawn, attribute: Score, place: Score, action: Score) -> Score:
    kind = one.prompt.spec["kind"]
    details = {"kind": kind, "attributes": attribute.value, "place": place.value, "action": action.value}
    details |= {"of_attributes": attribute.details, "of_place": place.details}
    if attribute.value is None:
        return Score(None, attribute.reason, details)
    value = rules.complex_score(kind, attribute.value, place.value, action.value)
    return Score(value, None if value is not None else place.reason or action.reason or "no verdict", details)


def _seen(detections: Sequence[Detection]) -> dict[str, Any]:
    return {"found": [[one.name, round(one.score, 4), *one.box] for one in detections]}


def _all_prompts(path: str | None, categories: Sequence[str]) -> Iterator[Prompt]:
    for category in dict.fromkeys(categories):
        file = _files.locate(path, [f"{category}_val.txt", f"examples/dataset/{category}_val.txt"], SOURCE)
        if path is not None and Path(path).is_file():
            raise ValueError(
                f"benchmark.path = {path}: it is a file, expected the folder that holds {category}_val.txt"
            )
        spec_of = _specs(file, category)
        texts = _files.lines(file)
        for number, text in enumerate(texts):
            yield Prompt(
                f"t2i_compbench-{category}-{number:03d}", text, category, spec={"row": number, **spec_of(text)}
            )
        note = _files.number(file, NUM_PROMPTS, len(texts), "prompts")
        if note:
            _log.warning(note)


def _specs(file: Path, category: str) -> Callable[[str], dict[str, Any]]:
    """What the rules read in a prompt of a category; raises ValueError for one that they cannot read."""
    if category == "numeracy":
        singular = rules.plurals(_files.lines(_files.locate(str(file.parent), ["new_objects.txt"], SOURCE)))
        return lambda text: {"objects": _needed(file, text, rules.numeracy_objects(text, singular))}
    if category in ("spatial", "3d_spatial"):
        return lambda text: {"objects": _needed(file, text, [*filter(None, rules.spatial_pair(text))])}
    if category == "complex":
        lists = [
            _files.lines(_files.locate(str(file.parent), [f"complex_val_{kind}.txt"], SOURCE))
            for kind in ("spatial", "action")
        ]
        return lambda text: {"kind": rules.complex_kind(text, *lists)}
    return lambda _: {}


def _needed(file: Path, text: str, found: list[Any]) -> list[Any]:
    if not found:
        raise ValueError(f"{file}: {text!r} names no object that can be read; take the file as it was published")
    return found
