"""The judge that counts: what a prompt asks for, what a count is worth, and what has no score."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from given import DATA
from PIL import Image

from selfportrait import config
from selfportrait.components import find
from selfportrait.judges._wanted import Wanted, given, read, singular
from selfportrait.judges.count import Count
from selfportrait.types import Detection, Prompt

GENEVAL = DATA / "geneval" / "evaluation_metadata.jsonl"
BLANK = Image.new("RGB", (40, 30))


class Sees:
    """Finds as many of each name as it is told, and knows no other names if it is `closed`."""

    def __init__(self, *, closed: bool = False, **numbers: int) -> None:
        self.numbers = {name.replace("_", " "): number for name, number in numbers.items()}
        self.asked: list[list[str]] = []
        if closed:
            known = {"man": "person", "woman": "person", **{name: name for name in self.numbers}}
            self.label = known.get

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        self.asked += [list(several) for several in names]
        return [
            [
                Detection(name, 0.9 - 0.1 * i, (i, 0, i + 9, 9))
                for name in several
                for i in range(self.numbers.get(name, 0))
            ]
            for several in names
        ]


def judged(detector, text: str, **settings):
    (score,) = Count(detector=detector, **settings)([Prompt("p", text)], [BLANK])
    return score


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("three apples and two dogs", {"apple": 3, "dog": 2}),
        ("a photo of four dogs", {"dog": 4}),
        ("3 cats, 2 dogs and a red bird on a table", {"cat": 3, "dog": 2, "red bird": 1, "table": 1}),
        ("a photo of a wine glass", {"wine glass": 1}),
        ("two wine glasses next to a bottle", {"wine glass": 2, "bottle": 1}),
        ("seven shrimp", {"shrimp": 7}),
        ("eleven mice", {"mouse": 11}),
        ("five knives and four buses", {"knife": 5, "bus": 4}),
        ("two women and three men", {"woman": 2, "man": 3}),
        ("a group of three children playing", {"child": 3}),
        ("three dogs chase two cats", {"dog": 3, "cat": 2}),
        ("exactly two red balls", {"red ball": 2}),
        ("a couple of birds", {"bird": 2}),
        ("a dozen eggs", {"egg": 12}),
        ("a pair of scissors", {"scissors": 1}),
        ("a dog and a dog", {"dog": 2}),
        ("two hot dogs", {"hot dog": 2}),
        ("an orange scissors and four broccolis", {"orange scissors": 1, "broccoli": 4}),
        ("no dogs", {"dog": 0}),
        ("the dog and several cats", {}),
        ("dogs", {}),
        ("", {}),
    ],
)
def test_what_a_prompt_asks_for(text: str, wanted: dict[str, int]) -> None:
    assert {one.name: one.count for one in read(text)} == wanted


def test_a_number_states_what_an_article_does_not() -> None:
    assert read("one cat on a sofa") == [Wanted("cat", 1, True), Wanted("sofa", 1, False)]


@pytest.mark.parametrize(
    ("plural", "noun"),
    [
        ("apples", "apple"), ("people", "person"), ("mice", "mouse"), ("geese", "goose"), ("knives", "knife"),
        ("wolves", "wolf"), ("benches", "bench"), ("boxes", "box"), ("horses", "horse"), ("houses", "house"),
        ("vases", "vase"), ("cases", "case"), ("buses", "bus"), ("glasses", "glass"), ("tomatoes", "tomato"),
        ("butterflies", "butterfly"), ("keys", "key"), ("fish", "fish"), ("glass", "glass"), ("cactus", "cactus"),
        ("policemen", "policeman"), ("snowmen", "snowman"), ("shoes", "shoe"), ("noses", "nose"), ("nurses", "nurse"),
        ("women", "woman"), ("ties", "tie"), ("dishes", "dish"), ("toothbrushes", "toothbrush"), ("skis", "skis"),
    ],
)  # fmt: skip
def test_plurals(plural: str, noun: str) -> None:
    assert singular(plural) == noun
    assert singular(noun) == noun


def test_a_relative_count_by_hand() -> None:
    # 7 dogs for 2: 1 - 5 / 2 < 0, clipped; 3 apples for 4: 1 - 1 / 4; mean 0.375, product 0
    sees = Sees(apple=3, dog=7)
    found = judged(sees, "four apples and two dogs")
    assert found.value == pytest.approx(0.375)
    assert found.details["exact"] is False
    assert judged(sees, "four apples and two dogs", strict=True).value == 0
    assert judged(sees, "four apples and two dogs", score="exact").value == 0
    assert judged(sees, "three apples and two dogs", score="exact").value == 0.5
    assert judged(sees, "three apples and seven dogs", score="exact", strict=True).value == 1
    assert judged(sees, "four apples and eight dogs", strict=True).value == pytest.approx(0.75 * 7 / 8)


def test_the_golden_case_of_gpo() -> None:
    # detected dog, cat, table for 2, 1, 1: right; 1, 1, 0: (1/2 + 0 + 1) / 3 off; 7, 1, 1: 5/2 off, clipped at 1
    text = "two dogs, a cat and a table"
    found = [judged(Sees(dog=dog, cat=1, table=table), text) for dog, table in ((2, 1), (1, 0), (7, 1))]
    assert [score.value for score in found] == pytest.approx([1, 0.5, 0.66666667])
    assert [score.details["exact"] for score in found] == [True, False, False]


def test_none_wanted_is_right_only_where_none_is() -> None:
    assert judged(Sees(dog=1), "no dogs").value == 0
    assert judged(Sees(), "no dogs").value == 1


def test_the_details_say_what_was_wanted_and_where_it_was_found() -> None:
    found = judged(Sees(dog=2), "three dogs")
    assert found.value == pytest.approx(2 / 3)
    assert found.details == {
        "exact": False,
        "counts": [
            {"name": "dog", "wanted": 3, "found": 2, "boxes": [[0, 0, 9, 9], [1, 0, 10, 9]], "confidences": [0.9, 0.8]}
        ],
        "size": [40, 30],
        "detector": "Sees",
    }
    json.dumps(dict(found.details))


def test_nothing_countable_is_missing_and_asks_for_nothing() -> None:
    sees = Sees(dog=1)
    for text, settings in (("a lovely day", {"articles": False}), ("dogs", {}), ("", {})):
        found = judged(sees, text, **settings)
        assert found.value is None
        assert "names nothing that can be counted" in (found.reason or "")
    assert sees.asked == [[], [], []]


def test_a_number_of_what_the_detector_does_not_know_is_missing_and_an_article_is_left_out() -> None:
    sees = Sees(closed=True, dog=2)
    assert judged(sees, "two dogs in a park").value == 1
    unknown = judged(sees, "two dogs and three unicorns")
    assert (unknown.value, unknown.reason) == (None, "the detector Sees does not know 'unicorn'")
    assert judged(sees, "one dog jumped").details["counts"][0]["name"] == "dog"


def test_what_cannot_be_told_apart_is_counted_together() -> None:
    found = judged(Sees(closed=True, person=5), "two men and three women")
    assert [(one["name"], one["wanted"], one["found"]) for one in found.details["counts"]] == [("person", 5, 5)]
    assert found.value == 1


@dataclass(frozen=True)
class Given(Prompt):
    spec: object = None


def test_given_counts_come_before_the_words() -> None:
    sees = Sees(dog=2, cat=1)
    specs = [
        {"counts": {"dog": 2}},
        {"include": [{"class": "dog", "count": 2}, {"class": "cat", "count": 1}], "tag": "counting"},
        {"tag": "other"},
    ]
    scores = Count(detector=sees)([Given("p", "nine cats", spec=spec) for spec in specs], [BLANK] * 3)
    assert [score.value for score in scores] == [1, 1, pytest.approx(1 / 9)]
    assert sees.asked == [["dog"], ["dog", "cat"], ["cat"]]


@pytest.mark.parametrize(
    "spec", [{"counts": 3}, {"counts": {"dog": -1}}, {"counts": {"dog": "two"}}, {"include": [{}]}]
)
def test_a_spec_without_counts_is_refused(spec: dict) -> None:
    with pytest.raises(ValueError, match="holds no counts: expected names with whole numbers"):
        given(spec)


def test_a_detector_that_loses_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="returned 0 lists for 1 pictures"):
        judged(lambda pictures, names: [], "two dogs")


def test_it_agrees_with_the_micro_world_that_knows_the_truth() -> None:
    from selfportrait.micro.world import Item, Scene, render

    items = [Item("red", "circle", "medium", x, 12) for x in (10, 30, 50)] + [Item("blue", "star", "medium", 20, 45)]
    picture = render(Scene(tuple(items)))
    judge = Count(detector=find("detectors", "micro")())
    texts = ["three red circles and a blue star", "two red circles and two blue stars", "four circles"]
    values = [score.value for score in judge([Prompt(t, t) for t in texts], [picture] * 3)]
    assert values == [1, pytest.approx((0.5 + 0.5) / 2), 0.75]


def test_a_config_names_its_detector_and_every_setting_of_it() -> None:
    section = config.bind_section("judge", {"name": "count", "detector": {"name": "rt_detr", "threshold": 0.4}})
    assert section.resolved["detector"]["threshold"] == 0.4
    assert section.resolved["detector"]["batch_size"] == 8
    assert type(section.build().detector).__name__ == "RtDetr"
    for other in (
        {"detector": "rt_detr", "detector.threshold": 0.4},
        {"detector.threshold": 0.4, "detector": "rt_detr"},
    ):
        assert config.bind_section("judge", {"name": "count", **other}).resolved == section.resolved
    default = config.bind_section("judge", {"name": "count"})
    assert default.resolved["detector"]["name"] == "d_fine"
    assert type(default.build().detector) is type(Count().detector)


@pytest.mark.parametrize(
    ("detector", "sentence"),
    [
        ("rt_detre", "Unknown component 'rt_detre' in detectors: did you mean 'rt_detr'?"),
        ({"name": "rt_detr", "thresold": 1}, "Unknown setting judge.detector.thresold of judge.detector rt_detr: did"),
        ({"name": "rt_detr", "threshold": 2}, "judge.detector.threshold = 2: should be less than 1"),
        ({"name": 5}, "judge.detector.name = 5: should be text, one of d_fine"),
        (3, "judge.detector = 3: should be a section of settings, such as judge.detector.name=d_fine"),
    ],
)
def test_a_wrong_detector_is_refused_in_a_sentence(detector: object, sentence: str) -> None:
    with pytest.raises(ValueError, match="judge|detectors") as caught:
        config.bind_section("judge", {"name": "count", "detector": detector})
    assert str(caught.value).startswith(sentence)


@pytest.mark.skipif(not GENEVAL.is_file(), reason="the published prompts are not here")
def test_every_published_prompt_of_geneval_reads_as_its_counts() -> None:
    """By the prompt's words alone what the file says of it, with the detector of its classes."""
    label = find("detectors", "d_fine")().label
    for line in GENEVAL.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        wanted, said = {}, {}
        for one in given(record):
            wanted[label(one.name)] = one.count
        for one in read(record["prompt"]):
            said[label(one.name)] = one.count
        assert said == wanted, record["prompt"]
