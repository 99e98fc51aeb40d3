"""Prompt sets with preference scorers, and text rendering: how files are read, and what is summed up."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from given import DATA, Says, picture, use

from selfportrait.benchmarks.hpd_v2 import HpdV2
from selfportrait.benchmarks.ocr_prompts import OcrPrompts
from selfportrait.benchmarks.parti_prompts import PartiPrompts
from selfportrait.benchmarks.pick_a_pic import PickAPic
from selfportrait.measures import differences, summarise
from selfportrait.types import Score

PARTI = DATA / "parti_prompts" / "PartiPrompts.tsv"
HEADER = "Prompt\tCategory\tChallenge\tNote"


def parti(tmp_path, *lines, **settings):
    (tmp_path / "PartiPrompts.tsv").write_bytes("\r\n".join([HEADER, *lines]).encode("utf-8-sig"))
    return PartiPrompts(path=str(tmp_path), **settings)


def test_a_quote_in_parti_is_a_quote(tmp_path) -> None:
    texts = ['a sign that says "Deep', 'a "cat"', '"quoted" all over']
    built = parti(tmp_path, *(f"{text}\tArts\tBasic\t" for text in texts))
    assert [prompt.text for prompt in built.prompts()] == texts
    assert built.prompts()[0].spec["challenge"] == "Basic"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Prompt,Category\na,b", "has the columns Prompt,Category, expected Prompt, Category, Challenge, Note"),
        (f"{HEADER}\na cat\tAnimals", "line 2 has 2 columns, expected 4"),
    ],
)
def test_other_columns_are_refused(tmp_path, content, says) -> None:
    (tmp_path / "PartiPrompts.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        PartiPrompts(path=str(tmp_path))


def test_each_judge_has_its_mean_median_and_groups(tmp_path, monkeypatch) -> None:
    scores = {"a": 20.0, "b": 22.0, "c": 27.0}
    use(monkeypatch, {
        "pick": Says(score=lambda prompt, _: Score(scores[prompt.text])),
        "taste": Says(score=lambda prompt, _: Score(None, "too dark") if prompt.text == "c" else Score(5.0)),
    })  # fmt: skip
    lines = ["a\tAnimals\tBasic\t", "b\tAnimals\tStyle\t", "c\tArts\tBasic\t"]
    built = parti(tmp_path, *lines, judges=("pick", "taste"))
    rows = built.measure(built.prompts(), [[picture()]] * 3)
    found = summarise(PartiPrompts, rows, built.protocol)
    values = {name: one["value"] for name, one in found["categories"].items()}
    assert values["pick"] == 23
    assert values["pick / Animals"] == 21
    assert values["pick / Basic"] == 23.5
    assert values["taste"] == 5
    assert values["taste / Arts"] is None
    assert found["categories"]["taste"]["missing"] == 1
    assert found["categories"]["taste / Arts"]["protocol"] == "approx:taste"
    assert found["extra"] == {"median pick": 22.0, "median taste": 5.0}
    assert found["overall"] is None
    json.dumps(found, allow_nan=False)


def test_who_wins_at_the_same_seed(tmp_path, monkeypatch) -> None:
    def rows_of(**scores):
        use(monkeypatch, {"pick": Says(score=lambda prompt, _: Score(scores[prompt.text]))})
        built = parti(tmp_path, *(f"{text}\tArts\tBasic\t" for text in "abcd"), judges=("pick",))
        return built.measure(built.prompts(), [[picture()]] * 4)

    before = rows_of(a=1.0, b=1.0, c=1.0, d=None)
    after = rows_of(a=2.0, b=1.0, c=0.5, d=3.0)
    # One won, one tied, one lost, one that was not judged before: 1.5 of 3, and (1 + 0 - 0.5) / 3 higher.
    found = differences(PartiPrompts, before, after)["pick"]
    assert found.win_rate == 0.5
    assert found.difference == pytest.approx(0.5 / 3)
    assert found.prompts == 3


def hpd(tmp_path, texts, **settings):
    (tmp_path / "anime.json").write_text(json.dumps(texts), encoding="utf-8")
    return HpdV2(path=str(tmp_path), styles=("anime",), judges=("hps",), **settings)


def test_a_judge_may_be_made_of_several(tmp_path) -> None:
    parts = {"clip_score": {"weight": 2}, "second": {"name": "count", "detector": {"name": "micro"}}}
    built = parti(tmp_path, "a cat\tAnimals\tBasic\t", judges=({"name": "weighted", "parts": parts},))
    built.ready()
    judge = built._judges["weighted"].built
    assert judge.parts["clip_score"].weight == 2
    assert type(judge.parts["second"].judge.detector).__name__ == "Micro"


def test_hps_has_the_deviation_of_its_chunks_of_80(tmp_path, monkeypatch) -> None:
    # 80 of 0.2 and 80 of 0.3: the mean is 0.25, the chunks' means are 0.2 and 0.3, their deviation 0.05.
    use(monkeypatch, {"hps": Says(score=lambda prompt, _: Score(0.2 if int(prompt.text) < 80 else 0.3))})
    built = hpd(tmp_path, [str(number) for number in range(160)])
    rows = built.measure(built.prompts(), [[picture(4, 4)]] * 160)
    found = summarise(HpdV2, rows, built.protocol)
    assert found["categories"]["hps / anime"]["value"] == pytest.approx(0.25)
    assert found["extra"]["deviation hps / anime"] == pytest.approx(0.05)


def test_hps_wants_jpeg_in_a_folder_a_style(tmp_path) -> None:
    built = hpd(tmp_path, ["x", "y"])
    ((name, data),) = built.files(built.prompts()[1], [picture(8, 8, "red")]).items()
    assert name == "anime/00001.jpg"
    assert data[:3] == b"\xff\xd8\xff"
    with pytest.raises(ValueError, match="entry 1 is a int, expected text"):
        hpd(tmp_path, ["x", 3])


def test_pick_a_pic_reads_captions_once(tmp_path) -> None:
    captions = ["a cat", "a dog ", "a cat", "a bird"]
    pq.write_table(pa.table({"caption": captions, "jpg_0": [b"x"] * 4}), tmp_path / "test_unique.parquet")
    assert [prompt.text for prompt in PickAPic(path=str(tmp_path)).prompts()] == ["a cat", "a dog", "a bird"]
    (tmp_path / "own.txt").write_text("a cat\r\na dog", encoding="utf-8-sig")
    assert [prompt.text for prompt in PickAPic(path=str(tmp_path / "own.txt")).prompts()] == ["a cat", "a dog"]
    pq.write_table(pa.table({"url": captions}), tmp_path / "wrong.parquet")
    with pytest.raises(ValueError, match="has no text in caption, prompt or text: found url"):
        PickAPic(path=str(tmp_path / "wrong.parquet"))


def test_text_rendering_reads_its_target(tmp_path, monkeypatch) -> None:
    (tmp_path / "test.txt").write_bytes(b'a sign that reads "OPEN"\r\na cup with "Tea" on it')
    read = {"OPEN": Score(0.5, None, {"exact": False}), "Tea": Score(1.0, None, {"exact": True})}
    use(monkeypatch, {"ocr": Says(score=lambda prompt, _: read[prompt.spec["target"]])})
    built = OcrPrompts(path=str(tmp_path), judge="ocr")
    found = summarise(OcrPrompts, built.measure(built.prompts(), [[picture()]] * 2), built.protocol)
    assert found["overall"]["value"] == 0.75
    assert found["overall"]["protocol"] == "approx:ocr"
    assert found["extra"] == {"exact": 0.5}
    (tmp_path / "test.txt").write_text('two "words" and "more"', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 has 2 texts in double quotes, expected one"):
        OcrPrompts(path=str(tmp_path))


def test_the_default_reader_ignores_what_else_stands_there(tmp_path) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    (tmp_path / "test.txt").write_text('a sign that reads "OPEN"', encoding="utf-8")
    judge = OcrPrompts(path=str(tmp_path))._judges["ocr"].built
    assert (judge.score, judge.penalise_extra, judge.enlarge) == ("edit", False, 1)


@pytest.mark.skipif(not PARTI.is_file(), reason="the published prompts are not here")
def test_the_published_parti_prompts_are_read_whole() -> None:
    prompts = PartiPrompts(path=str(PARTI)).prompts()
    assert len(prompts) == 1632
    assert Counter(prompt.category for prompt in prompts) == {
        "Animals": 314, "Artifacts": 287, "World Knowledge": 214, "People": 177, "Outdoor Scenes": 131,
        "Illustrations": 124, "Vehicles": 104, "Food & Beverage": 74, "Arts": 66, "Abstract": 51,
        "Produce & Plants": 50, "Indoor Scenes": 40,
    }  # fmt: skip
    challenges = Counter(prompt.spec["challenge"] for prompt in prompts)
    assert challenges["Fine-grained Detail"] == 312
    assert sorted(challenges.values()) == sorted([312, 272, 232, 206, 150, 113, 91, 90, 70, 61, 35])
    assert np.mean([len(prompt.text) for prompt in prompts]) > 1
