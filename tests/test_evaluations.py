"""`evaluate`, `compare` and `report` with published benchmarks: folders, resuming, given pictures, who judged."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from selfportrait import cli, config, stages, store
from selfportrait.commands import evaluate, loading, pairs
from selfportrait.report import write_report
from selfportrait.types import Score

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from given import Detects, Says, found, lines, use
from test_questions import ANSWERS, TWO_ITEMS, table

HOSTILE = "<script>alert('x')</script> \"&amp;"


class Conditioning:
    def __init__(self, texts) -> None:
        self.texts = texts

    def repeat(self, count):
        return Conditioning([text for text in self.texts for _ in range(count)])


class Paints:
    """A model that draws each prompt and seed in a colour of its own, and stops for good after some pictures."""

    def __init__(self) -> None:
        self.drawn, self.stop_after = 0, None

    def encode(self, texts):
        return Conditioning(list(texts))

    def sample(self, conditioning, seeds):
        pictures = []
        for text, seed in zip(conditioning.texts, seeds, strict=True):
            if self.stop_after is not None and self.drawn >= self.stop_after:
                raise KeyboardInterrupt
            self.drawn += 1
            pictures.append(Image.new("RGB", (8, 8), (len(text) % 256, seed % 256, 7)))
        return SimpleNamespace(images=pictures)


@pytest.fixture
def model(monkeypatch):
    painter = Paints()
    source = SimpleNamespace(identity={"name": "paints"}, load=lambda: painter)

    monkeypatch.setattr(loading, "resolve", lambda *_: source)
    monkeypatch.setattr(evaluate, "Source", SimpleNamespace)
    return painter


@pytest.fixture
def eyes(monkeypatch):
    """Judges for every benchmark of these tests; `other` sees nothing."""
    sees = Detects(found("bench", (0, 0, 4, 4)))
    use(monkeypatch, {"eyes": sees, "other": Detects(), "vqa": Says(ANSWERS), "pick": Says(score=brightness)})
    return sees


def brightness(prompt, image):
    return Score(float(image.getpixel((0, 0))[0]))


@pytest.fixture
def geneval(tmp_path):
    prompts = [
        {"tag": "single_object", "include": [{"class": name, "count": 1}], "prompt": f"a photo of a {name}"}
        for name in ("bench", "cow", HOSTILE)
    ]
    return lines(tmp_path / "evaluation_metadata.jsonl", *prompts * 20)


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def geneval_settings(path, detector="eyes"):
    return ["--set", f"benchmark.geneval.path={path}", "--set", f"benchmark.geneval.detector={detector}"]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_several_benchmarks_and_one_that_joins_later(model, eyes, geneval, tmp_path, capsys) -> None:
    where = tmp_path / "run"
    code, out, _ = run(
        capsys, "evaluate", "m", "--benchmark", "geneval", "--run", where, "--json", *geneval_settings(geneval)
    )
    assert code == 0
    # A bench in every picture: 20 of 60 prompts are right.
    overall = json.loads(out)["geneval"]["overall"]
    assert overall["value"] == pytest.approx(1 / 3)
    assert (overall["n"], overall["expected"], overall["protocol"]) == (240, 240, "approx:eyes")
    assert model.drawn == 240

    csv = table(tmp_path / "dpg_bench.csv", *TWO_ITEMS)
    more = ["--set", f"benchmark.dpg_bench.path={csv}", "--set", "benchmark.dpg_bench.vqa=vqa"]
    code, out, err = run(
        capsys, "evaluate", "m", "--benchmark", "geneval,dpg_bench", "--run", where, *geneval_settings(geneval), *more
    )
    assert code == 0, err
    assert model.drawn == 240 + 8  # nothing again
    assert "approx:eyes" in out
    assert "approx:vqa" in out
    assert "overall, mean over prompts" in out
    assert (where / "dpg_bench" / "evaluation.json").is_file()


def test_a_killed_evaluation_goes_on_to_the_same_bytes(model, eyes, geneval, tmp_path, capsys) -> None:
    command = ["evaluate", "m", "--benchmark", "geneval", *geneval_settings(geneval)]
    assert run(capsys, *command, "--run", tmp_path / "whole")[0] == 0
    model.drawn, model.stop_after = 0, 150  # in the second part of 25 prompts
    code, _, err = run(capsys, *command, "--run", tmp_path / "killed")
    assert (code, "run the same command again" in err) == (130, True)
    assert len(store.parts(tmp_path / "killed/geneval/evaluation")) == 1
    model.stop_after = None
    assert run(capsys, *command, "--run", tmp_path / "killed")[0] == 0
    whole, killed = (contents(tmp_path / name) for name in ("whole", "killed"))
    assert killed == whole


def test_pictures_in_their_layout_are_judged_without_a_model(model, eyes, geneval, tmp_path, capsys) -> None:
    layout = tmp_path / "layout"
    command = ["evaluate", "m", "--benchmark", "geneval", "--layout", layout, *geneval_settings(geneval)]
    assert run(capsys, *command)[0] == 0
    assert len(list(layout.glob("geneval/*/samples/*.png"))) == 240
    (layout / "geneval/00000/samples/0003.png").unlink()
    (layout / "geneval/00001/samples/0000.png").write_bytes(b"no picture")
    model.drawn = 0
    given = ["evaluate", "--images", layout, "--benchmark", "geneval", "--json", *geneval_settings(geneval)]
    code, out, err = run(capsys, *given, "--run", tmp_path / "given")
    assert code == 0, err
    overall = json.loads(out)["geneval"]["overall"]
    assert (overall["n"], overall["missing"]) == (238, 2)
    rows = store.read_table(tmp_path / "given/geneval/evaluation", ["index", "reason", "exact"]).to_pylist()
    assert rows[3] == {"index": 3, "reason": "there is no 00000/samples/0003.png", "exact": None}
    assert "cannot be decoded" in rows[4]["reason"]
    assert rows[5]["exact"] is False
    assert model.drawn == 0


def test_a_grid_is_taken_apart_again(model, eyes, tmp_path, capsys) -> None:
    csv = table(tmp_path / "dpg_bench.csv", *TWO_ITEMS)
    own = ["--benchmark", "dpg_bench", "--set", f"path={csv}", "--set", "vqa=vqa"]
    assert run(capsys, "evaluate", "m", *own, "--layout", tmp_path / "l", "--run", tmp_path / "a")[0] == 0
    assert {path.name for path in (tmp_path / "l/dpg_bench").iterdir()} == {"partiprompts97.png", "42.png"}
    assert run(capsys, "evaluate", "--images", tmp_path / "l", *own, "--run", tmp_path / "b")[0] == 0
    pictures = [
        store.read_table(tmp_path / name / "dpg_bench/evaluation", ["image"]).to_pylist() for name in ("a", "b")
    ]
    assert pictures[0] == pictures[1]


def test_an_earlier_evaluation_is_judged_by_somebody_else(model, eyes, geneval, tmp_path, capsys) -> None:
    command = ["evaluate", "m", "--benchmark", "geneval", "--run", tmp_path / "a", *geneval_settings(geneval)]
    assert run(capsys, *command)[0] == 0
    again = ["evaluate", "--images", tmp_path / "a", "--benchmark", "geneval", "--run", tmp_path / "b", "--json"]
    code, out, _ = run(capsys, *again, *geneval_settings(geneval, "other"))
    assert code == 0
    overall = json.loads(out)["geneval"]["overall"]
    assert (overall["value"], overall["protocol"]) == (0, "approx:other")
    assert model.drawn == 240
    code, _, err = run(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert "approx:eyes judged" in err
    assert "approx:other judged" in err


def test_two_evaluations_are_compared_prompt_by_prompt(model, eyes, tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "PartiPrompts.tsv").write_text(
        "Prompt\tCategory\tChallenge\tNote\na\tArts\tBasic\t\nbb\tArts\tBasic\t\n", encoding="utf-8"
    )
    own = ["--benchmark", "parti_prompts", "--set", f"path={tmp_path}", "--set", "judges=[pick]"]
    assert run(capsys, "evaluate", "m", *own, "--run", tmp_path / "a")[0] == 0
    better = Says(score=lambda prompt, image: Score(5.0 if prompt.text == "a" else 2.0))
    use(monkeypatch, {"pick": better})
    assert run(capsys, "evaluate", "m", *own, "--run", tmp_path / "b")[0] == 0
    # Lengths 1 and 2 were the scores; 5 beats 1, and 2 ties: 1.5 of 2 won, 2 higher on the mean.
    code, out, _ = run(capsys, "compare", tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0
    (one,) = json.loads(out)
    assert one["change"]["pick"]["win_rate"] == 0.75
    assert one["change"]["pick"]["difference"] == 2
    code, out, _ = run(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert "75.0" in out
    assert "approx:pick" in out


def test_the_page_shows_who_judged_and_escapes_everything(model, eyes, geneval, tmp_path, capsys) -> None:
    command = ["evaluate", "m", "--benchmark", "geneval", "--run", tmp_path / "a", *geneval_settings(geneval)]
    assert run(capsys, *command)[0] == 0
    page = (tmp_path / "a/report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "approx:eyes" in page
    assert "prompts with a right picture</dt><dd>0.3333 <code>approx:eyes</code>" in page
    assert "does not compare with published ones" in page
    assert page.count("data:image/png") == 4 * 4  # the first four prompts with four pictures
    assert "expected 1 cow, found 0" in page
    before = (tmp_path / "a/report.html").read_bytes()
    assert write_report(tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["m", "--benchmark", "geneval,micro", "--set", "seed=3"],
            "say whose setting it is, such as benchmark.geneval",
        ),
        (["m", "--benchmark", "geneval", "--set", "benchmark.genevl.path=x"], "genevl is not measured: did you mean"),
        (["m", "--benchmark", "geneval", "--set", "pth=x"], "Unknown setting benchmark.pth"),
        (["m", "--benchmark", "geneval"], "from https://github.com/djghosh13/geneval"),
        (["m", "--benchmark", "micro,micro"], "name each benchmark once"),
        (["--benchmark", "micro"], "a MODEL, or --images"),
        (["m", "--images", "x"], "and not both"),
        (["m", "--layout", "x"], "micro has no layout of its own"),
        (["--images", "nowhere"], "there is no such folder"),
    ],
)
def test_bad_input_is_one_sentence_before_weights_load(arguments, sentence, capsys, monkeypatch) -> None:
    def load():
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(loading, "resolve", lambda *_: SimpleNamespace(identity={}, load=load))
    code, _, err = run(capsys, "evaluate", *arguments)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1


def test_settings_of_a_judge_stand_below_it(tmp_path) -> None:
    section = evaluate.sections(["geneval"], {"detector.path": "x", "benchmark.geneval.dense": True}, None)["geneval"]
    assert section.settings["detector"] == {"name": "mask2former", "path": "x"}
    deep = evaluate.sections(["tifa"], {"vqa": "vlm", "vqa.vlm.url": "x", "vqa.vlm.name": "endpoint"}, None)["tifa"]
    assert deep.settings["vqa"] == {"name": "vlm", "vlm": {"url": "x", "name": "endpoint"}}
    named = evaluate.sections(["geneval"], {"detector.path": "x", "detector": "owlv2"}, None)["geneval"]
    assert named.settings["detector"] == {"name": "owlv2", "path": "x"}


def test_a_section_without_a_name_changes_the_default_and_one_with_a_name_replaces_it(tmp_path) -> None:
    def judge(settings: dict[str, object]) -> object:
        return evaluate.sections(["ocr_prompts"], settings, None)["ocr_prompts"].settings["judge"]

    default = {"name": "ocr", "score": "edit", "penalise_extra": False, "enlarge": 1}
    assert judge({}) == default
    assert judge({"judge.enlarge": 2}) == judge({"judge": {"enlarge": 2}}) == {**default, "enlarge": 2}
    assert judge({"judge.name": "vlm", "judge.ask": "grade"}) == {"name": "vlm", "ask": "grade"}
    assert judge({"judge": "vlm", "judge.vlm": "endpoint", "judge.vlm.url": "x"}) == {
        "name": "vlm",
        "vlm": {"name": "endpoint", "url": "x"},
    }


def test_the_judge_of_own_prompts_takes_settings_of_its_own(tmp_path, capsys) -> None:
    def bound(*settings: str) -> config.Section:
        (tmp_path / "p.txt").write_text("a")
        given = pairs.parse([f"path={tmp_path / 'p.txt'}", *settings])
        return evaluate.sections(["prompts"], given, None)["prompts"]

    parts = ("judge.parts.clip_score.weight=2", "judge.parts.count.detector=owlv2", "judge.watch.aesthetic={}")
    weighted = bound("judge=weighted", *parts)
    judge = weighted.settings["judge"]
    assert [*judge.parts, *judge.watch] == ["clip_score", "count", "aesthetic"]
    assert judge.parts["clip_score"].weight == 2
    assert weighted.resolved["judge"]["parts"]["count"]["detector"]["name"] == "owlv2"
    assert bound("judge.name=hps", "judge.batch_size=3").resolved["judge"]["batch_size"] == 3
    for settings, sentence in (
        ((), "benchmark.judge is missing"),
        (("judge=mps",), "benchmark.judge.path is missing: benchmark.judge mps needs it"),
        (("judge.path=x",), "benchmark.judge.name is missing: one of aesthetic"),
        (("judge=hps", "judge.pth=x"), "Unknown setting benchmark.judge.pth of benchmark.judge hps: did you mean"),
        (("judge=self_vqa",), "benchmark.judge: self_vqa waits for the model in training"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            bound(*settings)


def test_a_judge_of_more_and_less_has_a_mean_and_nothing_is_exactly_right(model, eyes, tmp_path, capsys) -> None:
    (tmp_path / "p.txt").write_text("a\nb\n")
    own = ["--set", f"path={tmp_path / 'p.txt'}", "--set", "judge=pick", "--set", "images_per_prompt=2"]
    command = ["evaluate", "m", "--benchmark", "prompts", *own, "--run", tmp_path / "e"]
    code, out, err = run(capsys, *command, "--json")
    assert code == 0, err
    found = json.loads(out)["prompts"]
    assert found["metric"] == "mean score of the judge"
    assert found["overall"]["pass_at"] == {}
    rows = stages.judged(tmp_path / "e/evaluation")
    assert found["overall"]["value"] == pytest.approx(sum(row["score"] for row in rows) / 4)
    code, out, err = run(capsys, *command)
    assert "mean score of the judge" in out


def test_evaluations_and_runs_do_not_mix(model, eyes, geneval, tmp_path, capsys) -> None:
    command = ["evaluate", "m", "--benchmark", "geneval", "--run", tmp_path / "a", *geneval_settings(geneval)]
    assert run(capsys, *command)[0] == 0
    code, _, err = run(capsys, "compare", tmp_path / "a", "dpo-micro")
    assert code == 2
    assert "dpo-micro is no evaluation, as the others are" in err


def test_evaluations_with_the_micro_benchmark_are_compared_too(model, tmp_path, capsys) -> None:
    own = ["--set", "prompts_per_category=2", "--set", 'categories=["color"]', "--set", "images_per_prompt=2"]
    for name in ("a", "b"):
        assert run(capsys, "evaluate", "m", *own, "--run", tmp_path / name)[0] == 0
    assert model.drawn == 8
    code, out, err = run(capsys, "compare", tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0, err
    (one,) = json.loads(out)
    assert one["change"]["overall"]["difference"] == 0
    assert one["change"]["color"]["win_rate"] == 0.5
    assert "exactly right" in (tmp_path / "a/report.html").read_text(encoding="utf-8")
