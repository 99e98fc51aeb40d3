"""The embedded pipelines before and while they learn: tokens, training pictures, and going on after a stop."""

import random
import shutil
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from selfportrait.micro import autoencoder, build, denoisers, flow
from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import checks, parse
from selfportrait.micro.scenes import CATEGORIES, SHAPE_CATEGORIES, is_held_out, prompts
from selfportrait.micro.words import words
from selfportrait.micro.world import Scene, render


def texts(category: str, count: int) -> list[str]:
    split = [islice(prompts(category, held_out=held_out, seed=0), count) for held_out in (False, True)]
    return [prompt.text for part in split for prompt in part]


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_every_prompt_fits_word_by_word(category: str) -> None:
    tokenizer = denoisers.new_tokenizer(denoisers.vocabulary())
    for text in texts(category, 150):
        ids = tokenizer(text).input_ids
        assert len(ids) <= denoisers.TOKENS
        spoken = text.replace(",", " ,").split()
        assert [token.removesuffix("</w>") for token in tokenizer.convert_ids_to_tokens(ids)[1:-1]] == spoken


def test_words_are_spelt_by_letters_and_fit() -> None:
    tokenizer = denoisers.new_tokenizer([])
    for word in words():
        ids = tokenizer(f'the word "{word.lower()}"').input_ids
        assert len(ids) <= denoisers.TOKENS
        letters = [token.removesuffix("</w>") for token in tokenizer.convert_ids_to_tokens(ids)[1:-1]]
        assert "".join(letters) == f'theword"{word.lower()}"'
        assert len(letters) == len("".join(letters))


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_training_pictures_fulfil_their_prompts_but_for_what_counting_captions_overlook(category: str) -> None:
    right, with_one_more = 0, 0
    for text, scene in islice(denoisers._examples({category: 1.0}, random.Random(0)), 200):
        assert not is_held_out(text)
        claim, image = parse(text), render(scene)
        right += all(verify(check, detect(image), background_of(image)) for check in checks(claim))
        with_one_more += len(scene.items) == sum(phrase.count for phrase in claim.phrases) + 1
    overlooked = 200 * denoisers.OVERLOOKED if category == "numeracy" else 0
    assert with_one_more == pytest.approx(overlooked, abs=25 if overlooked else 0)
    assert right + with_one_more >= 199


def test_pixels_span_minus_one_to_one() -> None:
    found = autoencoder.pixels_of([render(Scene(background="white"))])
    assert found.shape == (1, 3, 64, 64)
    assert found[0, :, 0, 0].tolist() == pytest.approx([value / 127.5 - 1 for value in (240, 240, 236)])


def test_a_new_pipeline_repeats_from_its_seed() -> None:
    vae = autoencoder.new_autoencoder()
    first, second, other = (flow.new_pipeline(vae, spells=False, seed=seed) for seed in (0, 0, 1))
    weights = [torch.cat([p.flatten() for p in one.transformer.parameters()]) for one in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no micro model 'sd4' to build; choose sd, sd3, sd3-text or janus"):
        build.build("sd4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_training(tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ValueError, match="a file is in its place"):
        build.build("sd3", tmp_path / out)
    assert (tmp_path / "taken").read_text() == "mine"


def test_every_category_is_learnt_by_one_of_the_pipelines() -> None:
    assert {name for recipe in build.RECIPES.values() for name in recipe.categories} == set(CATEGORIES)


class StoppedError(BaseException):
    """The build is gone."""


@pytest.mark.slow
def test_a_stopped_build_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHECKPOINT_EVERY", 1)
    settings = {"steps": 3, "training_set": 250, "device": "cpu"}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder()
    vae.register_to_config(shift_factor=0.1, scaling_factor=0.9)
    autoencoder.save(vae, whole / ".build" / "autoencoder")
    shutil.copytree(whole, stopped)
    build.build("sd3", whole, **settings)

    step = denoisers.Trainer.step

    def stopping(self: denoisers.Trainer, index: int, data: denoisers.TrainingSet) -> float:
        if index == 2:
            raise StoppedError
        return step(self, index, data)

    with monkeypatch.context() as patched:
        patched.setattr(denoisers.Trainer, "step", stopping)
        with pytest.raises(StoppedError):
            build.build("sd3", stopped, **settings)
    assert not (stopped / "model_index.json").exists()
    build.build("sd3", stopped, **settings)
    for part in ("transformer/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"):
        first, second = (load_file(folder / f"{part}.safetensors") for folder in (whole, stopped))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), part
