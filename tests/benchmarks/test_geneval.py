"""GenEval: rules against results derived by hand, and the published file."""

import json
from collections import Counter

import pytest
from given import DATA, Detects, found, lines, mask, picture, use

from selfportrait.benchmarks._colors import ClipColors, crop
from selfportrait.benchmarks._geneval import COLORS, dense_reward, keep, relations, verdict
from selfportrait.benchmarks.geneval import Geneval
from selfportrait.measures import summarise

FILE = DATA / "geneval" / "evaluation_metadata.jsonl"
needs_file = pytest.mark.skipif(not FILE.is_file(), reason="the published prompts are not here")

ONE = {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"}
TWO_CLOCKS = {
    "tag": "counting",
    "include": [{"class": "clock", "count": 2}],
    "exclude": [{"class": "clock", "count": 3}],
    "prompt": "a photo of two clocks",
}
RIGHT_OF = {
    "tag": "position",
    "include": [{"class": "bear", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
    "prompt": "a photo of a dog right of a bear",
}
ATTRIBUTES = {
    "tag": "color_attr",
    "include": [{"class": "cup", "count": 1, "color": "purple"}, {"class": "apple", "count": 1, "color": "black"}],
    "prompt": "a photo of a purple cup and a black apple",
}


def objects(*detections):
    return keep(detections, 0.3)


def no_color(name, several):
    raise AssertionError("nobody asked for a colour")


def painted(**colors):
    return lambda name, several: colors[name][: len(several)]


def test_a_detection_counts_above_the_threshold_and_the_first_sixteen_of_a_class() -> None:
    kept = keep([found("cup", (0, 0, 9, 9), 0.3), *(found("dog", (0, 0, 9, 9), 0.4 + i / 100) for i in range(20))], 0.3)
    assert kept["cup"] == []  # exactly the threshold is not above it
    assert [one.score for one in kept["dog"]] == pytest.approx([0.59 - i / 100 for i in range(16)])


@pytest.mark.parametrize(("number", "correct"), [(0, False), (1, False), (2, True), (3, False), (4, False)])
def test_counting_needs_as_many_and_no_more(number, correct) -> None:
    several = [found("clock", (10 * i, 0, 10 * i + 9, 9)) for i in range(number)]
    assert verdict(TWO_CLOCKS, objects(*several), no_color).correct is correct


def test_more_than_asked_is_right_where_nothing_is_excluded() -> None:
    several = [found("bench", (10 * i, 0, 10 * i + 9, 9)) for i in range(3)]
    assert verdict(ONE, objects(*several), no_color).correct


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # The target is (40, 40, 60, 60), boxes are 20 wide: the slack is 0.1 (20 + 20) = 4.
        ((80, 40, 100, 60), {"right of"}),  # o = (40, 0), o' = (36, 0), d = .9
        ((0, 40, 20, 60), {"left of"}),
        ((40, 0, 60, 20), {"above"}),
        ((40, 80, 60, 100), {"below"}),
        ((80, 80, 100, 100), {"right of", "below"}),  # o' = (36, 36), |o| = 40 sqrt 2: d = .636 both
        ((44, 40, 64, 60), set()),  # o = (4, 0): o' = 0
        ((48, 40, 68, 60), set()),  # o' = (4, 0), d = 4 / 8 = .5, which is not above .5
        ((49, 40, 69, 60), {"right of"}),  # o' = 5 of 9
        ((60, 76, 80, 96), {"below"}),  # o = (20, 36): o' = (16, 32), |o| = 41.18: d = (.389, .777)
    ],
)
def test_relations_by_hand(box, expected) -> None:
    assert relations(box, (40, 40, 60, 60)) == expected


def test_the_slack_grows_with_both_sizes() -> None:
    # o = (50, 0); sizes 100 + 20: slack 12, o' = 38, d = .76. With sizes 300 + 20 slack is 32, o' = 18, d = .36.
    assert relations((0, 0, 100, 20), (-10, 0, 10, 20)) == {"right of"}
    assert relations((-100, 0, 200, 20), (-10, 0, 10, 20)) == set()


def test_position_looks_at_the_most_confident_of_each() -> None:
    bear, right, left = found("bear", (40, 40, 60, 60)), (80, 40, 100, 60), (0, 40, 20, 60)
    assert verdict(RIGHT_OF, objects(bear, found("dog", right, 0.9), found("dog", left, 0.8)), no_color).correct
    wrong = verdict(RIGHT_OF, objects(bear, found("dog", right, 0.8), found("dog", left, 0.9)), no_color)
    assert wrong == (False, ["expected dog right of its target, found left of"])


def test_position_without_its_target_is_wrong_and_says_so() -> None:
    reasons = verdict(RIGHT_OF, objects(found("dog", (80, 40, 100, 60))), no_color).reasons
    assert reasons == ["expected 1 bear, found 0", "there is no target for dog to be right of"]


def test_attributes_need_both_colours_on_the_most_confident() -> None:
    both = objects(found("cup", (0, 0, 9, 9)), found("apple", (50, 0, 59, 9)))
    assert verdict(ATTRIBUTES, both, painted(cup=["purple"], apple=["black"])).correct
    swapped = verdict(ATTRIBUTES, both, painted(cup=["black"], apple=["purple"]))
    assert swapped.reasons == ["expected 1 purple cup, found black", "expected 1 black apple, found purple"]


def test_dense_reward_by_hand() -> None:
    # Counting: 1 - |n - 2| / 2, never below 0; Flow-GRPO's own form goes to -1 for six.
    def clocks(n):
        return objects(*(found("clock", (10 * i, 0, 10 * i + 9, 9)) for i in range(n)))

    assert [dense_reward(TWO_CLOCKS, clocks(n), no_color) for n in (0, 1, 2, 3, 4, 6)] == [0, 0.5, 1, 0.5, 0, 0]
    assert dense_reward(TWO_CLOCKS, clocks(6), no_color, official_quirks=True) == -1
    # Position: bear 1, dog 1, place 0 -> 2/3. The source appends 0 and 1 to a miss: 3 of 4.
    beside = objects(found("bear", (40, 40, 60, 60)), found("dog", (0, 40, 20, 60)))
    assert dense_reward(RIGHT_OF, beside, no_color) == pytest.approx(2 / 3)
    assert dense_reward(RIGHT_OF, beside, no_color, official_quirks=True) == 0.75
    # No dog: bear 1, dog 0, its place 0.
    assert dense_reward(RIGHT_OF, objects(found("bear", (40, 40, 60, 60))), no_color) == pytest.approx(1 / 3)
    # Attributes: cup 1 and its colour 0, two apples instead of one 0 and their colour 0: 1 of 4.
    crowd = objects(found("cup", (0, 0, 9, 9)), found("apple", (50, 0, 59, 9)), found("apple", (70, 0, 79, 9)))
    assert dense_reward(ATTRIBUTES, crowd, painted(cup=["red"])) == 0.25


def test_a_crop_is_grey_outside_its_mask() -> None:
    whole = picture(20, 20, "red")
    cut = crop(whole, found("cup", (5, 5, 15, 15), mask=mask((20, 20), (5, 5, 15, 10))))
    assert cut.size == (10, 10)
    assert cut.getpixel((0, 0)) == (255, 0, 0)
    assert cut.getpixel((0, 9)) == (153, 153, 153)
    assert crop(whole, found("cup", (5, 5, 15, 15))).getpixel((0, 9)) == (255, 0, 0)


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Four prompts and a detector that sees a bench, one clock of 0.95 and one of 0.8, a bear and a dog right of it."""
    seen = Detects(
        found("bench", (0, 0, 50, 50), 0.31),
        found("clock", (0, 0, 10, 10), 0.95),
        found("clock", (20, 0, 30, 10), 0.8),
        found("bear", (40, 40, 60, 60)),
        found("dog", (80, 40, 100, 60)),
        found("computer mouse", (0, 0, 9, 9)),
    )
    use(monkeypatch, {"eyes": seen})
    mouse = {"tag": "single_object", "include": [{"class": "computer mouse", "count": 1}], "prompt": "a computer mouse"}
    file = lines(tmp_path / "evaluation_metadata.jsonl", ONE, TWO_CLOCKS, RIGHT_OF, mouse)
    built = Geneval(path=str(file), detector="eyes", images_per_prompt=2)
    return built, seen


def test_the_overall_number_is_the_mean_of_the_tags(benchmark) -> None:
    built, seen = benchmark
    built.ready()
    rows = built.measure(built.prompts(), [[picture(), picture()]] * 4)
    assert [row["exact"] for row in rows] == [True, True, False, False, True, True, True, True]
    assert seen.asked[0] == ["bench"]
    assert seen.asked[-1] == ["computer mouse"]  # as the file calls it; a detector knows what COCO does
    # Counting needs 0.9, so one clock. Tags: single 1, counting 0, position 1: 2/3, while 6 of 8 pictures are right.
    found_ = summarise(Geneval, rows, built.protocol)
    assert found_["overall"]["value"] == pytest.approx(2 / 3)
    assert found_["extra"] == {"images": 0.75, "prompts with a right picture": 0.75}
    assert found_["categories"]["single_object"]["pass_at"] == {"1": 1.0, "2": 1.0}
    assert found_["categories"]["counting"]["protocol"] == "approx:eyes"
    assert found_["categories"]["position"]["protocol"] == "approx:eyes+clip-vit-large-patch14"
    json.dumps(found_, allow_nan=False)


def test_a_detector_that_does_not_know_a_class_is_refused_at_once(benchmark) -> None:
    built, seen = benchmark
    seen.label = lambda name: "bench" if name == "bench" else None
    with pytest.raises(ValueError, match="eyes cannot look for 'clock' and 3 other names"):
        built.ready()


def test_a_picture_knows_why(benchmark) -> None:
    built, _ = benchmark
    row = built.measure(built.prompts()[1:2], [[picture()]])[0]
    assert row["details"]["reasons"] == ["expected 2 clock, found 1"]
    assert row["details"]["objects"] == {"clock": [[0, 0, 10, 10, 0.95]]}


def test_its_own_prompts_can_be_checked_and_no_others(benchmark) -> None:
    built, _ = benchmark
    asked = [built.prompts()[0], type(built.prompts()[0])("x", "a red circle")]
    good, unknown = built.check(asked, [picture(), picture()])
    assert good.value == 1
    assert unknown.value is None
    assert built.is_held_out("A photo of a  bench.")


def test_seeds_start_at_42_for_every_prompt(benchmark) -> None:
    built, _ = benchmark
    assert {tuple(built.seeds(prompt)) for prompt in built.prompts()} == {(42, 43)}


def test_the_layout_is_the_published_one(benchmark) -> None:
    built, _ = benchmark
    files = built.files(built.prompts()[1], [picture(), picture()])
    assert list(files) == ["00001/metadata.jsonl", "00001/samples/0000.png", "00001/samples/0001.png"]
    assert json.loads(files["00001/metadata.jsonl"]) == TWO_CLOCKS


def test_only_results_of_the_official_scorer_are_official(tmp_path) -> None:
    file = lines(tmp_path / "evaluation_metadata.jsonl", ONE, TWO_CLOCKS)
    verdicts = [(0, 0, True, ""), (0, 1, False, "expected bench>=1, found 0"), (1, 0, True, "")]
    results = [
        {"filename": f"out/{row:05d}/samples/{index:04d}.png", "tag": "t", "correct": right, "reason": reason,
         "prompt": (ONE, TWO_CLOCKS)[row]["prompt"]}
        for row, index, right, reason in verdicts
    ]  # fmt: skip
    lines(tmp_path / "results.jsonl", *results)
    built = Geneval(path=str(file), detector="nobody", results=str(tmp_path), images_per_prompt=2)
    built.ready()
    rows = built.measure(built.prompts(), [[picture()] * 2] * 2)
    assert [row["exact"] for row in rows] == [True, False, True, None]
    assert rows[3]["reason"] == "the official scorer's results have no verdict on this picture"
    found_ = summarise(Geneval, rows, built.protocol)
    assert (found_["overall"]["value"], found_["overall"]["protocol"]) == (0.75, "official")
    lines(tmp_path / "results.jsonl", {**results[0], "prompt": "a cow"})
    with pytest.raises(ValueError, match="is of 'a cow', expected 'a photo of a bench'"):
        Geneval(path=str(file), results=str(tmp_path)).measure(built.prompts(), [[picture()], []])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"tag": "colors", "prompt": "x"}, "has no include: found tag, prompt"),
        ({**ONE, "tag": "colours"}, "'colours' is none of"),
        ({**ONE, "include": [{"class": "cup"}]}, "needs class and count"),
        ({**ONE, "include": [{"class": "cup", "count": 1, "position": ["left of", 0]}]}, "no earlier clause"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, line, says) -> None:
    with pytest.raises(ValueError, match=says):
        Geneval(path=str(lines(tmp_path / "evaluation_metadata.jsonl", line)))


def test_a_missing_file_says_where_to_get_it(tmp_path) -> None:
    for path in (None, str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(FileNotFoundError, match="get .* from https://github.com/djghosh13/geneval"):
            Geneval(path=path)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "a", "photo", "of", "-", "colored", "object", "cup", *COLORS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    folder = tmp_path_factory.mktemp("clip")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(words), "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 1},
        vision_config={**small, "image_size": 16, "patch_size": 8}, projection_dim=8,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    return folder


def test_a_colour_is_the_nearest_of_ten_mean_sentences(tiny_clip) -> None:
    colors = ClipColors(str(tiny_clip), device="cpu")
    directions = colors._classifier("cup")
    assert directions.shape == (10, 8)
    assert directions.norm(dim=1).tolist() == pytest.approx([1.0] * 10)
    crops = [picture(20, 20, color) for color in ("red", "blue", "black")]
    nearest = (colors._embedded_pictures(crops) @ directions.T).argmax(1)
    assert colors("cup", crops) == [COLORS[index] for index in nearest.tolist()]


@needs_file
def test_the_published_file_is_read_whole() -> None:
    prompts = Geneval(path=str(FILE)).prompts()
    assert Counter(prompt.category for prompt in prompts) == {
        "single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100,
    }  # fmt: skip
    assert Counter(len(prompt.spec.get("exclude", [])) for prompt in prompts) == {1: 80, 0: 473}
    counts = Counter(p.spec["include"][0]["count"] for p in prompts if p.category == "counting")
    assert counts == {2: 26, 3: 28, 4: 26}
    assert len({prompt.id for prompt in prompts}) == 553
    assert prompts == Geneval(path=str(FILE.parent)).prompts()
