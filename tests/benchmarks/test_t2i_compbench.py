"""T2I-CompBench: each category's formula against numbers derived by hand, and the published files."""

import json
from collections import Counter

import numpy as np
import pytest
from given import DATA, Detects, Says, found, picture, use

from selfportrait.asking.pictures import Reply
from selfportrait.benchmarks import _chunks, _files
from selfportrait.benchmarks import _compbench as rules
from selfportrait.benchmarks._depth import Depth
from selfportrait.benchmarks.t2i_compbench import ALL, T2iCompbench
from selfportrait.measures import summarise
from selfportrait.types import Score

FOLDER = DATA / "t2i_compbench"
needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason="the published prompts are not here")
PAIR = rules.Objects("dog", "key")


def in_plane(relation, first, second, *, scores=(0.8, 0.6), quirks=True):
    detections = [found("dog", first, scores[0]), found("key", second, scores[1])]
    return rules.spatial_score_2d(PAIR, relation, detections, 480, official_quirks=quirks)


def test_a_question_is_the_chunk_in_small_letters_without_marks() -> None:
    assert rules.question('The "red" hat (new)') == "the red hat new?"


def test_attributes_multiply_what_is_rounded_to_four() -> None:
    # 0.12345 -> 0.1235 (banker's or not, the fifth digit is above), 0.99999 -> 1: the product is 0.1235.
    assert rules.attribute_score([0.123451, 0.99999]) == 0.1235
    assert rules.attribute_score([0.123451, 0.99999], official_quirks=False) == pytest.approx(0.12344977)
    assert rules.attribute_score([]) == 1
    assert rules.attribute_score([0.5] * 8 + [0.0]) == 0.0039  # 2^-8, and the ninth chunk does not count


@pytest.mark.parametrize(
    ("relation", "first", "second", "place"),
    [
        ("on the left of", (0, 0, 40, 40), (100, 0, 140, 40), 1),
        ("on the left of", (100, 0, 140, 40), (0, 0, 40, 40), 0),
        ("on the right of", (100, 0, 140, 40), (0, 0, 40, 40), 1),
        ("on the top of", (0, 0, 40, 40), (0, 100, 40, 140), 1),
        ("on the bottom of", (0, 0, 40, 40), (0, 100, 40, 140), 0),
        ("on the left of", (0, 0, 40, 40), (50, 60, 90, 100), 0),  # further down than to the right
        ("on the left of", (0, 0, 40, 40), (50, 50, 90, 90), 0),  # as far: neither
        # Boxes of 40 that share 20x40 = 800 of 2400: IoU 1/3, so 0.1 / (1/3) = 0.3.
        ("on the left of", (0, 0, 40, 40), (20, 0, 60, 40), 0.3),
        ("near", (0, 0, 40, 40), (149, 300, 189, 340), 1),  # |dx| = 149 < 150
        ("next to", (0, 0, 40, 40), (200, 300, 240, 340), 0.5),  # 150 / max(200, 300)
        ("on top of", (0, 0, 40, 40), (0, 100, 40, 140), 0),  # in the vocabulary, in no rule
    ],
)
def test_places_in_the_plane_by_hand(relation, first, second, place) -> None:
    assert rules.place_2d(relation, first, second, 480) == pytest.approx(place)


def test_150_pixels_are_of_a_picture_of_480() -> None:
    # In a picture of 960 the limit is 300: |dx| = 400 and |dy| = 600 give 300 / 600.
    assert rules.place_2d("near", (0, 0, 80, 80), (400, 600, 480, 680), 960) == 0.5


def test_scores_in_the_plane_by_hand() -> None:
    # 0.25 (0.8 + 0.6) + 0.5 = 0.85; out of place 0.35, which the source makes 0.
    assert in_plane("on the left of", (0, 0, 40, 40), (100, 0, 140, 40)) == pytest.approx(0.85)
    assert in_plane("on the right of", (0, 0, 40, 40), (100, 0, 140, 40)) == 0
    assert in_plane("on the right of", (0, 0, 40, 40), (100, 0, 140, 40), quirks=False) == pytest.approx(0.35)
    # 0.3 of a place: 0.35 + 0.15 = 0.5, which stays.
    assert in_plane("on the left of", (0, 0, 40, 40), (20, 0, 60, 40)) == pytest.approx(0.5)


def test_one_thing_alone_is_nothing_in_the_plane_and_a_quarter_in_depth() -> None:
    alone = [found("dog", (0, 0, 40, 40), 0.8)]
    assert rules.spatial_score_2d(PAIR, "near", alone, 480) == 0
    assert rules.spatial_score_2d(PAIR, "near", alone, 480, official_quirks=False) == pytest.approx(0.2)
    assert rules.spatial_score_3d(PAIR, "behind", alone, np.zeros((480, 480))) == pytest.approx(0.2)


def test_the_first_of_each_name_counts_in_the_plane() -> None:
    several = [found("dog", (0, 0, 40, 40), 0.9), found("dog", (200, 0, 240, 40), 0.8), found("key", (100, 0, 140, 40))]
    assert rules.spatial_score_2d(PAIR, "on the left of", several, 480) == pytest.approx(0.25 * (0.9 + 0.95) + 0.5)


def depth_of(near, far=(0, 0, 0, 0)):
    """A map that is 1 in a box and 0.5 in another, read by rows and columns as it should be."""
    depth = np.zeros((100, 100))
    for value, (x0, y0, x1, y1) in ((0.5, far), (1.0, near)):
        depth[y0:y1, x0:x1] = value
    return depth


def test_places_in_depth_by_hand() -> None:
    first, second = (0, 0, 60, 60), (0, 0, 60, 40)  # they share 2400 of 3600: IoU 2/3
    nearer_below = depth_of((0, 40, 60, 60))  # only the first box reaches there
    assert rules.place_3d("in front of", first, second, nearer_below, official_quirks=False) == 1
    assert rules.place_3d("behind", first, second, nearer_below, official_quirks=False) == 0
    assert rules.place_3d("hidden", second, first, nearer_below, official_quirks=False) == 1
    # Less shared: (0,0,60,60) and (40,0,100,60) share 1200 of 6000, 0.2 / 0.5 = 0.4.
    beside = (40, 0, 100, 60)
    assert rules.place_3d("in front of", first, beside, depth_of((0, 0, 40, 60)), official_quirks=False) == 0.4
    assert rules.place_3d("in front of", first, (70, 0, 100, 60), depth_of((0, 0, 40, 60)), official_quirks=False) == 0
    assert rules.place_3d("in front of", first, second, np.zeros((100, 100)), official_quirks=False) == 0


def test_the_source_reads_the_depth_map_transposed() -> None:
    first, second = (0, 0, 60, 60), (0, 0, 60, 40)
    below, right = depth_of((0, 40, 60, 60)), depth_of((40, 0, 60, 60))
    # Transposed, [x0:x1, y0:y1], the second box is rows 0-60 and columns 0-40: what lies right is only the first's.
    assert rules.place_3d("in front of", first, second, right) == 1
    assert rules.place_3d("in front of", first, second, below) == 0
    assert rules.place_3d("in front of", first, second, right, official_quirks=False) == 0


def test_a_transposed_box_beyond_the_map_has_no_depth() -> None:
    wide = np.ones((40, 100))  # 40 rows: rows 50 to 90 are not there
    assert rules.place_3d("in front of", (50, 0, 90, 30), (50, 0, 90, 20), wide) == 0


def test_half_an_overlap_is_nothing_in_the_source() -> None:
    first, second = (0, 0, 60, 60), (0, 0, 60, 30)
    depth = depth_of((0, 30, 60, 60))
    assert rules.place_3d("in front of", first, second, depth, official_quirks=False) == 1
    assert rules.place_3d("in front of", first, second, depth.T) == 0


def test_in_depth_the_source_takes_the_last_before_it_has_both() -> None:
    several = [
        found("dog", (0, 0, 9, 9), 0.9), found("dog", (0, 0, 8, 8), 0.8), found("key", (50, 0, 59, 9), 0.7),
        found("key", (50, 0, 58, 8), 0.6),
    ]  # fmt: skip
    depth = np.zeros((100, 100))
    assert rules.spatial_score_3d(PAIR, "behind", several, depth) == pytest.approx(0.25 * (0.8 + 0.7))
    best = rules.spatial_score_3d(PAIR, "behind", several, depth, official_quirks=False)
    assert best == pytest.approx(0.25 * (0.9 + 0.7))


SINGULAR = rules.plurals(["mouse - mice", "boy - boys", "painting - paintings", "fish - fish", "lamp - lamps"])


def test_numbers_are_read_with_plurals() -> None:
    assert rules.numeracy_objects("two mice, a boy and six fish gathered", SINGULAR) == [
        ("mouse", 2), ("boy", 1), ("fish", 6),
    ]  # fmt: skip
    assert rules.numeracy_objects("six people gathered for a picnic", SINGULAR) == []


def test_numeracy_by_hand() -> None:
    asked = [("mouse", 2), ("boy", 1)]
    mice = [found("mouse", (0, 0, 9, 9)), found("mouse", (50, 0, 59, 9))]
    # Two mice: 0.25 for being there, 0.25 for the number; a person for the boy: 0.25 + 0.25.
    assert rules.numeracy_score(asked, [*mice, found("person", (80, 0, 99, 50))]) == 1
    assert rules.numeracy_score(asked, mice) == 0.5
    assert rules.numeracy_score(asked, mice[:1]) == 0.25
    assert rules.numeracy_score(asked, [found("boy", (0, 0, 9, 9))]) == 0
    assert rules.numeracy_score([("painting", 1)], [found("picture", (0, 0, 9, 9))]) == 1


def test_the_same_thing_twice_counts_once() -> None:
    outer, inner, other = (0, 0, 100, 100), (10, 10, 50, 50), (60, 60, 160, 160)
    several = [found("lamp", outer), found("lamp", inner), found("lamp", other), found("fish", outer)]
    # The inner box lies whole in the outer one. The other shares 40x40 of 100x100.
    assert [one.box for one in rules.deduplicated(several)] == [outer, other, outer]
    # With their last row and column, 100x91 of 100x100 is 0.91.. shared, 100x89 is below 0.9.
    assert len(rules.deduplicated([found("lamp", (0, 0, 99, 99)), found("lamp", (0, 9, 99, 108))])) == 1
    assert len(rules.deduplicated([found("lamp", (0, 0, 99, 99)), found("lamp", (0, 12, 99, 111))])) == 2


def test_three_in_one_by_hand() -> None:
    assert rules.complex_score("spatial", 0.5, 0.9, None) == pytest.approx(0.7)
    assert rules.complex_score("action", 0.5, None, 0.3) == pytest.approx(0.4)
    assert rules.complex_score("both", 0.5, 0.9, 0.3) == pytest.approx(1.7 / 3)
    assert rules.complex_score("both", 0.5, None, 0.3) is None
    assert rules.complex_kind("A Cat sat. It slept.", ["a cat sat."], []) == "spatial"  # up to the first full stop


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("a green bench and a blue bowl", ("a green bench", "a blue bowl")),
        ("rubber sole shoes and fluffy clouds", ("rubber sole shoes", "fluffy clouds")),
        ("The red hat was on top of the brown coat rack.", ("the red hat", "the brown coat rack")),
        ("The plant was on the right of the wall.", ("the plant", "the wall")),
    ],
)
def test_chunks_by_rule(text, chunks) -> None:
    assert _chunks.by_rule(text).chunks == chunks


def test_what_else_the_chunks_say() -> None:
    parsed = _chunks.by_rule("The red hat was on top of the brown man.")
    assert parsed.around == ("hat", "person")
    assert parsed.without_adjectives == "the hat was on top of the man."
    assert _chunks.by_rule("The black phone was resting on the brown charger.").around == (None, None)


class Token:
    def __init__(self, text, pos) -> None:
        self.text, self.pos_ = text, pos

    def __str__(self) -> str:
        return self.text


class Document(list):
    """What spaCy would say: tokens with their part of speech, and slices with a text."""

    noun_chunks = ("the red hat", "top", "the brown desk")

    @property
    def text(self) -> str:
        return " ".join(token.text for token in self)

    def __getitem__(self, key):
        return Document(super().__getitem__(key)) if isinstance(key, slice) else super().__getitem__(key)


def test_spacy_reads_as_the_source_does(monkeypatch) -> None:
    tagged = "the/DET red/ADJ hat/NOUN was/AUX on/ADP top/NOUN of/ADP the/DET brown/ADJ coat/NOUN rack/NOUN"
    document = Document(Token(*one.split("/")) for one in tagged.split())
    monkeypatch.setattr(_chunks, "_language", lambda: lambda text: document)
    parsed = _chunks.by_spacy("the red hat was on top of the brown coat rack")
    assert parsed.chunks == ("the red hat", "the brown desk")
    assert parsed.around == ("hat", "coat")  # the nearest noun after, though the thing is a rack
    assert parsed.without_adjectives == "the hat was on top of the coat rack"


def published(tmp_path, **texts):
    for name, lines in texts.items():
        ending = "\r\n" if name in ("color_val", "spatial_val") else "\n"
        (tmp_path / f"{name}.txt").write_bytes(ending.join(lines).encode("utf-8-sig"))  # no newline at the end
    return str(tmp_path)


@pytest.fixture
def folder(tmp_path):
    names = {
        "color_val": ["a green bench and a blue bowl", "a red car and a white sheep"],
        "shape_val": ["an oval mug and a square box"],
        "texture_val": ["a metallic ring and a wooden knife"],
        "spatial_val": ["a dog on the left of a key"],
        "3d_spatial_val": ["a girl hidden by a key"],
        "numeracy_val": ["two mice and a boy"],
        "non_spatial_val": ["A person is looking at a rainbow."],
        "complex_val": ["The red hat was on top of the brown desk.", "The red dog was lying on the mat."],
        "complex_val_spatial": ["The red hat was on top of the brown desk."],
        "complex_val_action": ["The red dog was lying on the mat."],
        "new_objects": ["mouse - mice", "boy - boys"],
    }
    return published(tmp_path, **names)


def test_every_category_end_to_end(folder, monkeypatch) -> None:
    eyes = Detects(
        found("dog", (0, 0, 40, 40), 0.8), found("key", (100, 0, 140, 40), 0.6), found("mouse", (0, 0, 9, 9)),
        found("hat", (0, 0, 40, 40), 0.8), found("desk", (0, 100, 40, 140), 0.8),
    )  # fmt: skip
    answers = {
        "a green bench?": 0.5, "a blue bowl?": 0.5, "a red car?": 0.9, "a white sheep?": None,
        "an oval mug?": 1.0, "a square box?": 0.0, "a metallic ring?": 0.9, "a wooden knife?": 0.9,
        "the red hat?": 0.4, "the brown desk?": 0.5, "the red dog?": 0.6, "the mat?": 1.0,
    }  # fmt: skip
    cosine = Says(score=lambda prompt, _: Score(0.3 if "red" in prompt.text else 0.2))
    use(monkeypatch, {"eyes": eyes, "vqa": Says(answers), "clip": cosine})
    built = T2iCompbench(path=folder, detector="eyes", vqa="vqa", clip="clip", images_per_prompt=1)
    monkeypatch.setattr(Depth, "__call__", lambda _, pictures: [np.zeros((100, 100)) for _ in pictures])
    prompts = built.prompts()
    rows = built.measure(prompts, [[picture()] for _ in prompts])
    scores = {row["prompt_id"].removeprefix("t2i_compbench-"): row["score"] for row in rows}
    assert scores == {
        "color-000": 0.25,
        "color-001": None,
        "shape-000": 0,
        "texture-000": 0.81,
        "spatial-000": pytest.approx(0.85),
        "3d_spatial-000": pytest.approx(0.15),  # the key alone
        "numeracy-000": 0.25,  # a mouse, but not two; nobody
        "non_spatial-000": 0.2,
        # Its attributes 0.4 * 0.5 = 0.2; on top of is no rule, so its place is 0.25 * 1.6 = 0.4, below the cut: 0.
        "complex-000": pytest.approx(0.1),
        # 0.6 * 1 and the cosine of "the dog was lying on the mat.": without its adjective, so 0.2.
        "complex-001": pytest.approx(0.4),
    }
    assert rows[1]["reason"] == "no answer to 'a white sheep?'"
    assert all(row["exact"] is None for row in rows)
    measured = summarise(T2iCompbench, rows, built.protocol)
    assert measured["overall"] is None
    assert measured["categories"]["color"]["missing"] == 1
    assert measured["categories"]["color"]["value"] == 0.25
    assert measured["categories"]["color"]["protocol"] == "approx:vqa,chunker=rule"
    assert measured["categories"]["complex"]["value"] == pytest.approx(0.25)
    assert list(measured["categories"]) == list(ALL)
    json.dumps(measured, allow_nan=False)


def test_results_of_the_official_scorers_are_found_by_their_running_number(folder, tmp_path) -> None:
    place = tmp_path / "out/color/annotation_blip"
    place.mkdir(parents=True)
    answers = [{"question_id": number, "answer": f"0.{number}000"} for number in (0, 1, 3)]
    (place / "vqa_result.json").write_text(json.dumps(answers), encoding="utf-8")
    built = T2iCompbench(path=folder, categories=("color",), results=str(tmp_path / "out"), images_per_prompt=2)
    built.ready()
    rows = built.measure(built.prompts(), [[picture()] * 2] * 2)
    assert [row["score"] for row in rows] == [0.0, 0.1, None, 0.3]
    assert summarise(T2iCompbench, rows, built.protocol)["categories"]["color"]["protocol"] == "official"
    other = T2iCompbench(path=folder, categories=("spatial",), results=str(tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match="labels/annotation_obj_detection_2d: it does not exist"):
        other.measure(other.prompts(), [[picture()]])


def test_only_the_asked_categories_need_judges(folder) -> None:
    with pytest.raises(ValueError, match="Unknown component 'nobody' in judges"):
        T2iCompbench(path=folder, categories=("color",), vqa="nobody").ready()
    with pytest.raises(ValueError, match="waits for the model in training"):
        T2iCompbench(path=folder, categories=("color",), vqa="self_vqa").ready()
    with pytest.raises(
        ValueError,
        match=r"Unknown setting .*grounding_dino: did you mean 'threshold'",
    ):
        T2iCompbench(path=folder, categories=("spatial",), detector={"name": "grounding_dino", "thresh": 1}).ready()
    wrong = {"name": "grounding_dino", "threshold": "high"}
    with pytest.raises(ValueError, match='grounding_dino.threshold = "high": should be a number'):
        T2iCompbench(path=folder, categories=("spatial",), detector=wrong).ready()
    built = T2iCompbench(path=folder, categories=("spatial",), detector="grounding_dino", threshold=0.25)
    built.ready()
    assert built._detector.built.threshold == 0.25


def test_pictures_are_seeded_from_42_and_named_by_a_running_number(folder) -> None:
    built = T2iCompbench(path=folder, categories=("color",))
    assert built.seeds(built.prompts()[1]) == list(range(42, 52))
    second = list(built.files(built.prompts()[1], [picture()] * 10))
    assert second[0] == "color/samples/a red car and a white sheep_000010.png"
    assert second[-1] == "color/samples/a red car and a white sheep_000019.png"


@pytest.mark.parametrize(("text", "says"), [("a cat_dog", "'_'"), ("a cat/dog", "'/'"), ("a" * 250, "261 bytes")])
def test_a_prompt_that_cannot_be_a_file_is_refused(tmp_path, text, says) -> None:
    built = T2iCompbench(path=published(tmp_path, color_val=[text]), categories=("color",))
    with pytest.raises(ValueError, match=says):
        built.named(built.prompts()[0])


def test_a_prompt_that_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="'a dog above a key' names no object"):
        T2iCompbench(path=published(tmp_path, spatial_val=["a dog above a key"]), categories=("spatial",))
    with pytest.raises(FileNotFoundError, match="holds no shape_val.txt"):
        T2iCompbench(path=str(tmp_path), categories=("shape",))


def test_depth_is_scaled_to_each_picture(tmp_path) -> None:
    import torch
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(tmp_path)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    (depth,) = Depth(str(tmp_path), device="cpu")([picture(50, 30)])
    assert depth.shape == (30, 50)
    assert (depth.min(), depth.max()) == (0, 1)


@needs_files
def test_the_published_files_are_read_whole() -> None:
    prompts = T2iCompbench(path=str(FOLDER)).prompts()
    assert Counter(prompt.category for prompt in prompts) == dict.fromkeys(ALL, 300)
    assert len({prompt.id for prompt in prompts}) == 2400
    assert not any(set(prompt.text) & set("_/\r\t\ufeff") for prompt in prompts)
    assert max(len(prompt.text) for prompt in prompts) == 150
    assert Counter(p.spec["kind"] for p in prompts if p.category == "complex") == {
        "spatial": 58, "action": 212, "both": 30,
    }  # fmt: skip


@needs_files
def test_every_published_prompt_can_be_read() -> None:
    built = T2iCompbench(path=str(FOLDER), categories=("spatial", "3d_spatial", "numeracy"))
    for prompt in built.prompts():
        if prompt.category == "numeracy":
            assert prompt.spec["objects"], prompt.text
            continue
        relation = rules.relation_2d if prompt.category == "spatial" else rules.relation_3d
        assert relation(prompt.text), prompt.text
        assert len(prompt.spec["objects"]) == 2
    relations = Counter(rules.relation_3d(p.text) for p in built.prompts() if p.category == "3d_spatial")
    assert relations == {"in front of": 102, "behind": 83, "hidden": 115}


@needs_files
def test_every_attribute_prompt_has_chunks() -> None:
    texts = [
        text for name in ("color", "shape", "texture", "complex") for text in _files.lines(FOLDER / f"{name}_val.txt")
    ]
    counts = [len(_chunks.by_rule(text).chunks) for text in texts]
    assert min(counts) >= 1
    assert sum(count >= 2 for count in counts) >= 0.97 * len(counts)
    assert not any(chunk in _chunks.DROPPED for text in texts for chunk in _chunks.by_rule(text).chunks)


# The vision-language model


class Looks:
    """Describes every picture, and grades by words of the question; remembers what it was asked."""

    model = "made/Looker-7B"

    def __init__(self, **grades) -> None:
        self.grades, self.asked = {key.replace("_", " "): value for key, value in grades.items()}, []

    def __call__(self, requests) -> list[Reply]:
        self.asked += [text for _, text in requests]
        return [Reply("Some things.") if "Briefly describe" in text.split("\n")[-1] else self.grade(text)
                for _, text in requests]  # fmt: skip

    def grade(self, text: str) -> Reply:
        said = next(value for key, value in self.grades.items() if key in text)
        return Reply(said if isinstance(said, str) else json.dumps({"score": said, "explanation": "so it is"}))


def graded(folder, looks, monkeypatch, **settings):
    use(monkeypatch, {"looker": looks})
    built = T2iCompbench(path=folder, mllm="looker", images_per_prompt=1, **settings)
    built.ready()
    rows = built.measure(built.prompts(), [[picture()] for _ in built.prompts()])
    return built, {row["prompt_id"].removeprefix("t2i_compbench-"): row for row in rows}


def test_a_model_describes_and_then_grades(folder, monkeypatch) -> None:
    looks = Looks(
        green_bench=3, blue_bowl=2, red_car="no idea", white_sheep=4, oval_mug=4, square_box=1, metallic_ring=5,
        wooden_knife=4, left_of_a_key=1, hidden_by=5, mice='{"score": 3, "expl', rainbow=4, red_hat=2, red_dog="7",
    )  # fmt: skip
    built, rows = graded(folder, looks, monkeypatch)
    assert {name: row["score"] for name, row in rows.items()} == {
        "color-000": pytest.approx(0.75 * 0.2),  # a product over noun phrases
        "color-001": None,
        "shape-000": pytest.approx(0.1),
        "texture-000": None,  # attributes have no grade of 5
        "spatial-000": 0.2,
        "3d_spatial-000": 1,
        "numeracy-000": 0.6,  # cut off after its grade
        "non_spatial-000": 0.8,
        "complex-000": 0.4,
        "complex-001": None,
    }
    assert rows["color-001"]["reason"] == "unparsable: 'no idea'"
    assert "5 is no grade from 1 to 4" in rows["texture-000"]["reason"]
    assert rows["color-000"]["details"]["grades"] == [3, 2]
    assert [built.protocol(name) for name in ("color", "spatial")] == [
        "approx:mllm=Looker-7B,chunker=rule", "approx:mllm=Looker-7B",
    ]  # fmt: skip
    bench = next(text for text in looks.asked if "green bench" in text)
    assert "Your previous answer: Some things." in bench
    assert "4: there is bench in the image, and the bench is green.\n" in bench
    assert "identify any objects and their color in the image. Briefly describe" in bench
    rainbow = next(text for text in looks.asked if "rainbow" in text)
    assert "5: the image accurately portrayed the actions" in rainbow


def test_in_one_turn_the_mistake_of_the_source_is_kept_where_asked(folder, monkeypatch) -> None:
    looks = Looks(mice=4, rainbow=4, red_hat=4, red_dog=4)
    rest = {"categories": ("numeracy", "non_spatial", "complex"), "describes": False}
    built, rows = graded(folder, looks, monkeypatch, **rest)
    assert [row["score"] for row in rows.values()] == [0.8] * 4
    assert len(looks.asked) == 4
    assert all("4: basically, spatial layout of objects matches the text." in text for text in looks.asked)
    assert not any("previous answer" in text for text in looks.asked)
    assert built.protocol("numeracy") == "approx:mllm=Looker-7B,turns=1"
    looks.asked.clear()
    graded(folder, looks, monkeypatch, **rest, official_quirks=False)
    assert not any("spatial layout of objects matches" in text for text in looks.asked)
    assert "quantities" in looks.asked[0]


def test_without_a_description_there_is_no_grade(folder, monkeypatch) -> None:
    class Silent(Looks):
        def __call__(self, requests) -> list[Reply]:
            self.asked += [text for _, text in requests]
            return [Reply(None, "no reply: timed out") for _ in requests]

    looks = Silent()
    _, rows = graded(folder, looks, monkeypatch, categories=("color",))
    assert [(row["score"], row["reason"]) for row in rows.values()] == [(None, "no reply: timed out")] * 2
    assert len(looks.asked) == 2  # nothing was graded


def test_the_model_has_room_for_a_description_and_is_checked_before_anything_is_drawn(folder) -> None:
    built = T2iCompbench(path=folder, mllm={"name": "local", "path": "owner/model"}, images_per_prompt=1)
    assert built._mllm is not None
    assert built._mllm.part.built.max_new_tokens == 512
    assert built.protocol("spatial") == "approx:mllm=model"
    with pytest.raises(ValueError, match="vlms.local.pth of vlms.local: did you mean 'path'"):
        T2iCompbench(path=folder, mllm={"name": "local", "pth": "x"}).ready()
    with pytest.raises(ValueError, match="it says how mllm judges, and none is given"):
        T2iCompbench(path=folder, describes=False)
