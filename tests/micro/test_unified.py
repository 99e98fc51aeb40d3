"""The token model before and while it learns: its words, its lessons, its updates, and going on after a stop."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from selfportrait.asking.questions import whole_question
from selfportrait.micro import lessons, picture_tokenizer, unified
from selfportrait.micro.detect import verify
from selfportrait.micro.language import Claim, checks, parse, say
from selfportrait.micro.lessons import Looks
from selfportrait.micro.logic import read_question, truth
from selfportrait.micro.scenes import is_held_out
from selfportrait.micro.unified_build import _mixed
from selfportrait.micro.unified_training import Batch, UnifiedTrainer, _packed
from selfportrait.micro.world import Item, Scene
from selfportrait.models import _tokens
from selfportrait.models._janus_words import Words
from selfportrait.models.janus import Janus

SMALL = Batch(drawings=4, looks=3, questions=2, texts=4)


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(unified.new_processor(), unified.CONTEXT)


@pytest.fixture(scope="module")
def vq():
    return picture_tokenizer.new_picture_tokenizer(token_width=unified.WIDTH, seed=0).eval()


@pytest.fixture(scope="module")
def scenes() -> lessons.Scenes:
    return lessons.draw_scenes(24, seed=0)


@pytest.fixture(scope="module")
def taught(words: Words, vq, scenes: lessons.Scenes):
    """Drawings, looks and texts of a few scenes."""
    drawings = lessons.tokenize(scenes, words, vq, on_step=lambda _: None)
    pictures = lessons.see(drawings.codes[:8], vq, on_step=lambda _: None)
    looks = lessons.looks(pictures, scenes.claims[:8], words, scenes=scenes.scenes[:8], seed=0, on_step=lambda _: None)
    return drawings, looks, lessons.texts(16, words, seed=0)


@pytest.fixture
def trainer(words: Words, vq) -> UnifiedTrainer:
    model = unified.new_model(unified.new_processor(), vq, seed=0)
    return UnifiedTrainer(model, words, steps=10, batch=SMALL, learning_rate=0.05, muon_learning_rate=0.05)


# Words


def test_a_prompt_takes_a_token_a_word(words: Words) -> None:
    text = "three red circles and a large blue star at the top left on a gray background"
    frame = len(words.prompt("red", 64)) - 1
    assert len(words.prompt(text, 64)) == frame + len(text.split())


def test_the_sentences_that_every_question_repeats_are_a_token_each(words: Words) -> None:
    prefix, (asked,) = words.questions(["Is there a red circle?"])
    assert prefix.count(words.tokenizer.convert_tokens_to_ids(unified.SPECIAL["image_token"])) == 64
    assert len(prefix) <= 64 + 8
    assert len(asked) <= 13


def test_yes_and_no_are_tokens(words: Words) -> None:
    names = words.tokenizer.convert_ids_to_tokens(words.answers(True) + words.answers(False))
    assert names == ["yes", "Yes", "no", "No"]


# Lessons


def test_captions_are_of_the_training_split(scenes: lessons.Scenes) -> None:
    assert not any(map(is_held_out, scenes.captions))


def test_answers_are_true_and_as_often_yes_as_no() -> None:
    many = lessons.draw_scenes(60, seed=1)
    rng = random.Random(0)
    said = []
    for own, scene in zip(many.claims, many.scenes, strict=True):
        found = truth(scene)
        for text, answer in lessons.questions_about(own, found, scene.background, rng):
            check = read_question(text)
            if check is None:
                prompt = text.removeprefix(whole_question("").partition('"')[0] + '"').removesuffix('"?')
                assert answer == all(verify(one, found, scene.background) for one in checks(parse(prompt)))
            else:
                assert answer == verify(check, found, scene.background), text
            said.append(answer)
    assert sum(said) / len(said) == pytest.approx(0.5, abs=0.06)


def test_most_questions_between_shapes_are_about_how_two_stand() -> None:
    rng, related, said = random.Random(0), [], []
    for scene in lessons.draw_scenes(80, seed=3).scenes:
        found = truth(scene)
        pairs = lessons.questions_between(found, scene.background, rng)
        assert len(pairs) == lessons.BETWEEN
        asked = [(read_question(text), answer) for text, answer in pairs]
        assert all(check and answer == verify(check, found, scene.background) for check, answer in asked)
        related += [check.kind == "relation" for check, _ in asked if check and len({one.name for one in found}) > 1]
        said += [answer for _, answer in asked]
    assert sum(related) / len(related) == pytest.approx(lessons.RELATIONS_FIRST / lessons.BETWEEN, abs=0.1)
    assert sum(said) / len(said) == pytest.approx(0.5, abs=0.06)
    assert lessons.questions_between([], "gray", rng) == []


def test_shapes_that_are_there_are_asked_about() -> None:
    items = (
        Item("red", "star", "medium", 8, 8),
        Item("red", "star", "medium", 8, 40),
        Item("blue", "ring", "medium", 56, 8),
    )
    found = truth(Scene(items))
    asked = list(lessons._about(found, random.Random(0)))
    answers = {kind: [verify(one, found, "black") for one in asked if one.kind == kind] for kind in ("count", "place")}
    relations = [verify(one, found, "black") for one in asked if one.kind == "relation"]
    # each kind by its right number twice and by its neighbours; one of five places holds the ring, none both stars
    assert sorted(answers["count"]) == [False] * 3 + [True] * 4
    assert sum(answers["place"]) == 1
    assert len(answers["place"]) == 10
    assert sum(relations) == lessons.ASKED_KINDS  # left of, or right of: one of four whichever comes first
    assert len(relations) == 4 * lessons.ASKED_KINDS
    assert {one.subject.name for one in asked if one.subject} == {"red star", "blue ring"}


def test_captions_are_mistaken_about_what_they_say() -> None:
    many = lessons.draw_scenes(1500, seed=2)
    mistaken = [
        (own, scene)
        for own, scene in zip(many.claims, many.scenes, strict=True)
        if not all(verify(one, truth(scene), scene.background) for one in checks(own))
    ]
    assert len(mistaken) / 1500 == pytest.approx(lessons.MISTAKEN, abs=0.05)
    more = [len(scene.items) - sum(phrase.count for phrase in own.phrases) for own, scene in mistaken]
    assert set(more) == {0, 1}
    assert sum(more) / len(more) > 0.75
    assert {count for (own, _), count in zip(mistaken, more, strict=True) if own.relation} == {1}


@pytest.mark.parametrize(
    ("caption", "shown"),
    [
        ("a red star", {"two red stars"}),
        ("a red star left of a blue ring", {"two red stars left of a blue ring", "a red star left of two blue rings"}),
        (
            "a red star and a blue ring",
            {"two red stars and a blue ring", "a red star and two blue rings", "a blue star and a red ring"},
        ),
        (
            "two red stars and one blue ring",
            {
                "three red stars and one blue ring",
                "two red stars and two blue rings",
                "one red star and two blue rings",
            },
        ),
    ],
)
def test_a_mistaken_caption_shows_something_near_it(caption: str, shown: set[str]) -> None:
    drawn = {_said(lessons._mistaken(parse(caption), random.Random(seed))) for seed in range(60)}
    assert drawn == shown


def _said(claim: Claim) -> str:
    """A claim as a prompt, also where it has several of a kind that it does not count."""
    counted = (replace(phrase, is_counted=phrase.is_counted or phrase.count > 1) for phrase in claim.phrases)
    return say(replace(claim, phrases=tuple(counted)))


def test_everything_is_named_in_reading_order(scenes: lessons.Scenes) -> None:
    scene = next(scene for scene in scenes.scenes if len(scene.items) > 2)
    background, _, names = lessons.describe(truth(scene), scene.background).partition(": ")
    rows = sorted(scene.items, key=lambda item: (item.y // 16, item.x // 16))
    assert background == scene.background
    assert [name.split()[-2:] for name in names.split(", ")] == [[item.colour, item.shape] for item in rows]


def test_a_third_of_the_pictures_that_are_looked_at_are_its_own(taught) -> None:
    looks = taught[1]
    count = len(looks.pictures)
    own = Looks(*(part[: count // 4] for part in looks))
    wider = own._replace(questions=torch.nn.functional.pad(own.questions, (0, 5)))
    mixed = _mixed(looks, wider)
    assert len(mixed.pictures) == len(mixed.answers) == count + 2 * (count // 4)
    assert torch.equal(mixed.questions[:count, :, :-5], looks.questions)
    assert torch.equal(mixed.questions[count:], torch.cat([wider.questions] * 2))


# Updates


def test_empty_prompts_are_what_guidance_compares_with(trainer: UnifiedTrainer, taught, monkeypatch) -> None:
    monkeypatch.setattr("selfportrait.micro.unified_training.EMPTY_PROMPTS", 1.1)
    seen = []
    monkeypatch.setattr(trainer, "_embed", lambda ids: seen.append(ids) or UnifiedTrainer._embed(trainer, ids))
    trainer._draw(taught[0], torch.Generator().manual_seed(0))
    rows = torch.randint(24, (4,), generator=torch.Generator().manual_seed(0))
    for row, ids in zip(rows.tolist(), seen[0], strict=True):
        length = int(taught[0].lengths[row])
        prompt = taught[0].prompts[row, :length].long()[None]
        expected = _tokens.unconditional(
            _tokens.EncodedTokens(prompt, torch.ones_like(prompt).bool()), trainer.words.pad
        )
        assert torch.equal(ids[:length], expected.ids[0])


def test_the_loss_of_drawing_is_the_models_own_log_likelihood(
    trainer: UnifiedTrainer, taught, scenes: lessons.Scenes, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("selfportrait.micro.unified_training.EMPTY_PROMPTS", 0.0)
    loss = trainer._draw(taught[0], torch.Generator().manual_seed(0))["draw"]
    rows = torch.randint(24, (4,), generator=torch.Generator().manual_seed(0))
    janus = saved(trainer, tmp_path)
    logps = janus.log_likelihood(
        taught[0].codes[rows].long(), janus.encode([scenes.captions[row] for row in rows.tolist()])
    )
    assert loss.item() == pytest.approx(-logps.mean().item() / 64, rel=1e-3)


def test_questions_side_by_side_are_answered_as_one_by_one(trainer: UnifiedTrainer, taught, tmp_path: Path) -> None:
    looks, row = taught[1], 3
    janus = saved(trainer, tmp_path)
    texts = ["Is there a red circle?", "Are there exactly two shapes?"]
    asked = trainer.words.questions(texts)[1]
    padded = torch.full((1, 2, max(map(len, asked)) + 3), trainer.words.pad)
    for index, ids in enumerate(asked):
        padded[0, index, : len(ids)] = torch.tensor(ids)
    picture = looks.pictures[row]
    with torch.no_grad():
        pixels = picture[None].permute(0, 3, 1, 2).float() / 127.5 - 1
        features = trainer.model.model.get_image_features(pixels).pooler_output
        lengths = torch.tensor([[len(ids) for ids in asked]])
        packed = _packed(padded, lengths, looks.lists[row][None].long(), looks.list_lengths[row][None])
        hidden = trainer._forward(*trainer._side_by_side(features, packed))
        last = len(trainer.prefix) + lengths[0].cumsum(0) - 1
        p_yes = trainer.model.lm_head(hidden[0, last]).softmax(-1)[:, trainer.words.answers(True)].amax(-1)
    image = Image.fromarray(picture.numpy())
    assert janus.answer([image, image], texts)[0].tolist() == pytest.approx(p_yes.tolist(), rel=1e-3)


def saved(trainer: UnifiedTrainer, folder: Path) -> Janus:
    """The model as it was before any update, in float32, as a user loads it."""
    trainer.model.eval().save_pretrained(folder / "model")
    unified.new_processor().save_pretrained(folder / "model")
    return Janus(path=str(folder / "model"), train="full").load()


def test_an_update_repeats_and_goes_on_after_a_stop(words: Words, vq, taught) -> None:
    def fresh() -> UnifiedTrainer:
        model = unified.new_model(unified.new_processor(), vq, seed=0)
        return UnifiedTrainer(model, words, steps=4, batch=SMALL)

    straight, stopped, resumed = fresh(), fresh(), fresh()
    expected = [straight.step(index, *taught) for index in range(3)]
    found = [stopped.step(index, *taught) for index in range(2)]
    resumed.load_state(stopped.state())
    found.append(resumed.step(2, *taught))
    assert found == expected
    for name, value in straight.state()["ema"].items():
        assert torch.equal(value, resumed.state()["ema"][name]), name


def test_what_turns_codes_into_pictures_does_not_learn(trainer: UnifiedTrainer, taught) -> None:
    before = {name: value.clone() for name, value in trainer.model.model.vqmodel.state_dict().items()}
    head = trainer.model.model.generation_head.vision_head.weight.clone()
    trainer.step(0, *taught)
    after = trainer.model.model.vqmodel.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(head, trainer.model.model.generation_head.vision_head.weight)


# The picture tokenizer


@pytest.fixture
def vq_trainer(monkeypatch: pytest.MonkeyPatch):
    """A function that makes the same untrained trainer each time."""
    monkeypatch.setattr(picture_tokenizer, "KMEANS_PICTURES", 48)
    monkeypatch.setattr(picture_tokenizer, "BATCH", 4)
    monkeypatch.setattr(picture_tokenizer, "BEFORE_CODES", 0.34)

    def fresh() -> picture_tokenizer.PictureTokenizerTrainer:
        model = picture_tokenizer.new_picture_tokenizer(token_width=32, seed=0)
        return picture_tokenizer.PictureTokenizerTrainer(model, steps=3)

    return fresh


def test_codes_start_where_features_are(vq_trainer) -> None:
    trainer = vq_trainer()

    def cosine() -> float:
        codes = normalize(trainer.model.quantize.embedding.weight, dim=1)
        features = picture_tokenizer.features_of(trainer.model, picture_tokenizer._batch(0, -1))
        return float((features.flatten(2).mT @ codes.T).amax(-1).mean())

    before = cosine()
    trainer._start_codes()
    assert before < 0.95
    assert cosine() > 0.98


def test_training_the_picture_tokenizer_goes_on_after_a_stop(vq_trainer) -> None:
    straight, stopped, resumed = vq_trainer(), vq_trainer(), vq_trainer()
    expected = [straight.step(index) for index in range(3)]
    found = [stopped.step(index) for index in range(2)]
    resumed.load_state(stopped.state())
    found.append(resumed.step(2))
    assert found == expected


def test_codes_are_saved_with_unit_length(vq, tmp_path: Path) -> None:
    picture_tokenizer.save(vq, tmp_path)
    codes = type(vq).from_pretrained(tmp_path).quantize.embedding.weight
    assert codes.norm(dim=1).tolist() == pytest.approx([1.0] * len(codes), abs=1e-5)
