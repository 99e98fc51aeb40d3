"""DPG-Bench, DSG-1k and TIFA: rules against results derived by hand, and what their files may hold."""

import csv
import json
from typing import Annotated, Any

import pytest
from given import DATA, Says, picture, use

from selfportrait import components
from selfportrait.benchmarks._parts import ByName
from selfportrait.benchmarks._questions import Asked, dependent, in_place, items
from selfportrait.benchmarks._sentences import Sentences
from selfportrait.benchmarks.dpg_bench import DpgBench
from selfportrait.benchmarks.dsg_1k import Dsg1k
from selfportrait.benchmarks.tifa import Tifa
from selfportrait.measures import summarise
from selfportrait.types import Score

CHAIN = [Asked(1, (0,), "entity - whole", "1"), Asked(2, (1,), "", "2"), Asked(3, (2,), "", "3")]
HEADER = [
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed", "tuple",
    "question_natural_language",
]  # fmt: skip


def table(path, *questions):
    """A CSV with a byte order mark and CRLF, as a spreadsheet leaves it."""
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for item, number, dependency, category, text in questions:
            writer.writerow([item, f"text of {item}, with a comma", "", number, dependency, "", "", category, text])
    return str(path)


def test_a_no_goes_all_the_way_down_in_dpg_and_one_step_in_dsg() -> None:
    answers = {1: False, 2: True, 3: True}
    assert in_place(answers, CHAIN) == {1: False, 2: False, 3: False}
    assert dependent(answers, CHAIN) == {1: False, 2: False, 3: True}


def test_a_parent_that_comes_later_counts_as_it_was_answered() -> None:
    # 1 depends on 2, which depends on 3, a no: when 1 is looked at, 2 is still a yes.
    backwards = [Asked(1, (2,), "", ""), Asked(2, (3,), "", ""), Asked(3, (0,), "", "")]
    assert in_place({1: True, 2: True, 3: False}, backwards) == {1: True, 2: False, 3: False}


def test_a_parent_that_is_not_there() -> None:
    orphan = [Asked(2, (1,), "", "")]
    with pytest.raises(KeyError):
        in_place({2: True}, orphan)
    assert dependent({2: True}, orphan) == {2: True}


TWO_ITEMS = [
    ("partiprompts97", 1, "0", "entity - whole (cat)", "Is there a cat?"),
    ("partiprompts97", 2, "1", "attribute - color (cat, red)", "Is the cat red?"),
    ("42", 1, "0", "entity - whole (dog)", "Is there a dog?"),
    ("42", 2, "1", "global - (photo)", "Is this a photo?"),
    ("42", 3, "2", "relation - spatial (dog, on)", "Is the dog on it?"),
]
ANSWERS = {
    "Is there a cat?": 0.9, "Is the cat red?": 0.2, "Is there a dog?": 0.4, "Is this a photo?": 0.7,
    "Is the dog on it?": 0.8,
}  # fmt: skip


def dpg(tmp_path, monkeypatch, **settings):
    use(monkeypatch, {"vqa": Says(ANSWERS)})
    return DpgBench(path=table(tmp_path / "dpg_bench.csv", *TWO_ITEMS), vqa="vqa", **settings)


def test_dpg_without_its_mistakes(tmp_path, monkeypatch) -> None:
    # cat yes, red no: 1/2. dog no, so the photo (a yes) is a no, and so is the rest: 0. Overall 1/4.
    built = dpg(tmp_path, monkeypatch, official_quirks=False, images_per_prompt=2)
    rows = built.measure(built.prompts(), [[picture()] * 2] * 2)
    assert [row["score"] for row in rows] == [0.5, 0.5, 0, 0]
    found = summarise(DpgBench, rows, built.protocol)
    assert found["overall"]["value"] == 0.25
    assert (found["overall_is"], found["scale"]) == ("mean over prompts", 100)
    assert found["overall"]["protocol"] == "approx:vqa"
    # Categories are over answers as they were given: entity 2 yes of 4, relation yes, though it fell.
    values = {name: one["value"] for name, one in found["categories"].items()}
    assert values == {
        "entity": 0.5, "entity - whole": 0.5, "attribute": 0, "attribute - color": 0, "global": 1, "global -": 1,
        "relation": 1, "relation - spatial": 1,
    }  # fmt: skip
    assert found["categories"]["entity"]["n"] == 4


def test_dpg_with_its_mistakes(tmp_path, monkeypatch) -> None:
    built = dpg(tmp_path, monkeypatch, images_per_prompt=4)
    rows = built.measure(built.prompts(), [[picture()] * 4] * 2)
    assert [row["score"] for row in rows[:4]] == [None] * 4
    assert rows[0]["reason"] == "the published scorer fails on a question that depends on the missing question 1"
    found = summarise(DpgBench, rows, built.protocol)
    assert found["overall"]["value"] == 0
    assert (found["overall"]["n"], found["overall"]["expected"], found["overall"]["missing"]) == (4, 8, 4)
    assert found["categories"]["relation"]["n"] == 1  # of the fourth picture alone


def test_a_prompt_that_loses_its_only_question_is_missing(tmp_path, monkeypatch) -> None:
    use(monkeypatch, {"vqa": Says(ANSWERS)})
    built = DpgBench(path=table(tmp_path / "dpg_bench.csv", TWO_ITEMS[0]), vqa="vqa", images_per_prompt=1)
    (row,) = built.measure(built.prompts(), [[picture()]])
    assert (row["score"], row["reason"]) == (None, "the published scorer has no question left for this prompt")


def test_a_question_without_an_answer_is_missing_and_not_no(tmp_path, monkeypatch) -> None:
    use(monkeypatch, {"vqa": Says({**ANSWERS, "Is this a photo?": None})})
    path = table(tmp_path / "dpg_bench.csv", *TWO_ITEMS)
    built = DpgBench(path=path, vqa="vqa", official_quirks=False, images_per_prompt=1)
    rows = built.measure(built.prompts(), [[picture()]] * 2)
    assert [(row["score"], row["reason"]) for row in rows] == [(0.5, None), (None, "no answer to 'Is this a photo?'")]


class Grades:
    """A judge without `answer`, which judges a prompt's questions; what it could not answer has no probability."""

    def __call__(self, prompts, images):
        return [
            Score(0.0, None, {"questions": [self.said(question.text) for question in prompt.questions]})
            for prompt in prompts
        ]

    def said(self, text):
        return {"p_yes": None, "p_no": None} if text == "Is this a photo?" else {"p_yes": 0.3, "p_no": 0.1}


def test_a_judge_of_prompts_can_be_asked_too(tmp_path, monkeypatch) -> None:
    use(monkeypatch, {"vlm": Grades()})
    path = table(tmp_path / "dpg_bench.csv", *TWO_ITEMS)
    built = DpgBench(path=path, vqa="vlm", official_quirks=False, images_per_prompt=1)
    rows = built.measure(built.prompts(), [[picture()]] * 2)
    assert [(row["score"], row["reason"]) for row in rows] == [(1, None), (None, "no answer to 'Is this a photo?'")]
    assert rows[0]["details"]["questions"][0]["p_yes"] == 0.75


class Server:
    def __init__(self, *, url: str) -> None:
        self.url = url


class Relay:
    def __init__(self, *, vlm: Annotated[Any, components.Part("vlms", "server")] = None) -> None:
        self.vlm = vlm


def test_a_judge_may_take_a_component_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(components, "find", lambda slot, name: {"relay": Relay, "server": Server}[name])
    assert ByName("judges", {"name": "relay", "vlm": {"url": "x"}}).built.vlm.url == "x"
    with pytest.raises(ValueError, match=r"judges.relay.vlm.url is missing"):
        assert ByName("judges", {"name": "relay", "vlm": "server"}).built


def test_dpg_takes_the_texts_beside_its_questions(tmp_path, monkeypatch) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "42.txt").write_text("a dog\r\n", encoding="utf-8-sig")
    built = dpg(tmp_path, monkeypatch)
    assert [prompt.text for prompt in built.prompts()] == ["text of partiprompts97, with a comma", "a dog"]
    assert built.seeds(built.prompts()[0]) == [42, 43, 44, 45]


def test_the_grid_of_dpg_is_two_by_two(tmp_path, monkeypatch) -> None:
    from selfportrait import images
    from selfportrait.benchmarks._layouts import untiled

    built = dpg(tmp_path, monkeypatch)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    files = built.files(built.prompts()[1], [picture(8, 8, color) for color in colors])
    assert list(files) == ["42.png"]
    grid = images.from_bytes(files["42.png"])
    assert grid.size == (16, 16)
    assert [grid.getpixel(at) for at in ((0, 0), (15, 0), (0, 15), (15, 15))] == colors
    assert [part.getpixel((4, 4)) for part in untiled(grid, 4)] == colors


def test_dsg_reads_what_it_can_of_its_dependencies(tmp_path, monkeypatch) -> None:
    questions = [
        ("vrd_10", 1, "0", "entity - whole (cat)", "Is there a cat?"),
        ("vrd_10", 2, "5, right", "attribute - color (cat)", "Is the cat red?"),
        ("vrd_10", 3, "3", "entity - whole (dog)", "Is there a dog?"),  # itself
        ("whoops_1", 1, "0", "global - (photo)", "Is this a photo?"),
        ("whoops_1", 2, "1,7", "relation - spatial (dog, on)", "Is the dog on it?"),  # 7 is nowhere
    ]
    use(monkeypatch, {"vqa": Says(ANSWERS)})
    built = Dsg1k(path=table(tmp_path / "dsg-1k-anns.csv", *questions), vqa="vqa")
    assert [one.parents for item in items(tmp_path / "dsg-1k-anns.csv") for one in item.questions] == [
        (0,), (5,), (3,), (0,), (1, 7),
    ]  # fmt: skip
    rows = built.measure(built.prompts(), [[picture()]] * 2)
    assert [row["score"] for row in rows] == [pytest.approx(1 / 3), 1]
    found = summarise(Dsg1k, rows, built.protocol)
    assert found["overall"]["value"] == pytest.approx(2 / 3)
    assert {name: one["value"] for name, one in found["categories"].items()} == {
        "relation": pytest.approx(1 / 3), "defying": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("id,text", "1,x", "line 2 has no item_id, proposition_id.*found id, text"),
        (",".join(HEADER), "a,x,,one,0,,,entity (x),Is it?", "proposition_id is 'one', expected a number"),
        (",".join(HEADER), "a,x,y", "line 2 has 3 columns, expected 9"),
        (",".join(HEADER), "", "holds no question"),
    ],
)
def test_a_wrong_table_is_refused_with_what_was_found(tmp_path, header, row, says) -> None:
    (tmp_path / "dpg_bench.csv").write_text(f"{header}\n{row}", encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        DpgBench(path=str(tmp_path))


TIFA = [
    {"id": "coco_1", "caption": "a dog", "question": "is this a dog?", "choices": ["yes", "no"], "answer": "yes",
     "element_type": "animal/human"},
    {"id": "coco_1", "caption": "a dog", "question": "what animal is this?", "choices": ["cat", "dog"], "answer": "dog",
     "element_type": "animal/human"},
    {"id": "paintskill_2", "caption": "two cats", "question": "how many cats?", "choices": ["1", "2", "3"],
     "answer": "2", "element_type": "counting"},
]  # fmt: skip


def tifa(tmp_path, **settings):
    (tmp_path / "tifa_v1.0_question_answers.json").write_text(json.dumps(TIFA), encoding="utf-8")
    return Tifa(path=str(tmp_path), vqa="vqa", **settings)


class Replies(Says):
    def reply(self, images, questions):
        return [[self.table[question] for question in several] for several in questions]


def test_a_free_answer_is_a_choice_or_the_nearest_one(tmp_path, monkeypatch) -> None:
    said = {"is this a dog?": "yes", "what animal is this?": "puppy", "how many cats?": "2"}
    use(monkeypatch, {"vqa": Replies(said)})
    built = tifa(tmp_path)
    asked = []
    monkeypatch.setattr(built._sentences, "nearest", lambda text, choices: asked.append((text, choices)) or "cat")
    rows = built.measure(built.prompts(), [[picture()]] * 2)
    assert asked == [("puppy", ["cat", "dog"])]  # the others are choices as they stand
    assert [row["score"] for row in rows] == [0.5, 1]
    found = summarise(Tifa, rows, built.protocol)
    assert found["overall"]["value"] == 0.75  # over captions; over questions it is 2/3
    assert {name: one["value"] for name, one in found["categories"].items()} == {"animal/human": 0.5, "counting": 1}
    assert found["extra"] == {"standard deviation": 0.25}
    assert found["overall"]["protocol"] == "approx:vqa"


def likely(*, cat: float, dog: float) -> dict[str, float]:
    """How likely each choice is the answer, told by yes and no."""
    animals = {"is this a dog?": 0.8, "what animal is this? cat?": cat, "what animal is this? dog?": dog}
    return {**animals, "how many cats? 1?": 0.6, "how many cats? 2?": 0.3, "how many cats? 3?": 0.1}


def test_choices_by_yes_and_no(tmp_path, monkeypatch) -> None:
    use(monkeypatch, {"vqa": Says(likely(cat=0.1, dog=0.3))})
    rows = tifa(tmp_path).measure(tifa(tmp_path).prompts(), [[picture()]] * 2)
    assert [row["score"] for row in rows] == [1, 0]
    assert tifa(tmp_path).protocol("counting") == "approx:vqa,choices=yes_no"
    soft = tifa(tmp_path, soft=True)
    rows = soft.measure(soft.prompts(), [[picture()]] * 2)
    # The dog: 0.8 and 0.3 of 0.4, so 0.775. The cats: 0.3 of 1.
    assert [row["score"] for row in rows] == [pytest.approx(0.775), pytest.approx(0.3)]


def test_the_geometric_mean_asks_for_everything_at_once(tmp_path, monkeypatch) -> None:
    said = likely(cat=0.3, dog=0.1)
    use(monkeypatch, {"vqa": Says(said)})
    soft = tifa(tmp_path, soft=True, mean="geometric")
    rows = soft.measure(soft.prompts(), [[picture()]] * 2)
    # The dog: the square root of 0.8 times 0.1 of 0.4. The cats: one question, 0.3 of 1.
    assert [row["score"] for row in rows] == [pytest.approx((0.8 * 0.25) ** 0.5), pytest.approx(0.3)]
    assert soft.protocol("counting") == "approx:vqa,choices=yes_no,soft,mean=geometric"
    hard = tifa(tmp_path, mean="geometric")
    rows = hard.measure(hard.prompts(), [[picture()]] * 2)
    assert [row["score"] for row in rows] == [0, 0]  # half of the dog's answers are right, and one is not
    said |= {"what animal is this? dog?": 0.0}
    rows = soft.measure(soft.prompts(), [[picture()]] * 2)
    assert rows[0]["score"] == 0
    assert summarise(Tifa, rows, soft.protocol)["categories"]["animal/human"]["value"] == pytest.approx(0.4)


def test_the_map_of_tifa_goes_from_id_to_path(tmp_path) -> None:
    built = tifa(tmp_path)
    assert json.loads(built.index(built.prompts())["images.json"]) == {
        "coco_1": "images/coco_1.png", "paintskill_2": "images/paintskill_2.png",
    }  # fmt: skip
    assert list(built.files(built.prompts()[0], [picture()])) == ["images/coco_1.png"]


def test_an_answer_that_is_no_choice_is_refused(tmp_path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{**TIFA[0], "answer": "Yes"}]), encoding="utf-8")
    with pytest.raises(ValueError, match="entry 0: the answer 'Yes' is none of"):
        Tifa(path=str(tmp_path / "x.json"))


def test_the_nearest_sentence_is_that_of_the_highest_cosine(tmp_path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "cat", "dog", "puppy"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    )
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[4] = model.embeddings.word_embeddings.weight[3]  # puppy as dog
    model.save_pretrained(tmp_path)
    sentences = Sentences(str(tmp_path), device="cpu")
    assert sentences.nearest("puppy", ["cat", "dog"]) == "dog"
    assert sentences.nearest("cat", ["dog", "cat dog cat", "cat"]) == "cat"


SAMPLE = DATA / "tifa" / "sample_question_answers.json"


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the published samples are not here")
def test_the_published_samples_are_read() -> None:
    prompts = Tifa(path=str(SAMPLE)).prompts()
    assert sum(len(prompt.spec["questions"]) for prompt in prompts) == 19
    assert {prompt.category for prompt in prompts} == {"coco", "drawbench"}


PROMPTS = DATA / "dpg_bench" / "prompts.jsonl"


@pytest.mark.skipif(not PROMPTS.is_file(), reason="the published prompts are not here")
def test_every_published_prompt_of_dpg_can_be_named(tmp_path) -> None:
    found = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    (tmp_path / "prompts").mkdir()
    for one in found:
        (tmp_path / "prompts" / f"{one['item_id']}.txt").write_text(one["text"], encoding="utf-8")
    questions = [(one["item_id"], 1, "0", "entity - whole (x)", "Is it?") for one in found]
    built = DpgBench(path=table(tmp_path / "dpg_bench.csv", *questions), official_quirks=False)
    assert len(built.prompts()) == 1065
    assert {built.named(prompt)[0] for prompt in built.prompts()} == {f"{one['item_id']}.png" for one in found}
    words = [len(prompt.text.split()) for prompt in built.prompts()]
    assert (min(words), max(words)) == (37, 130)
