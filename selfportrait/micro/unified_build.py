"""`selfportrait micro build janus`: the picture tokenizer, the lessons, the model, and the model with its eyes open.

Each goes on where it stopped. Read this for the order and the sizes. The model that comes first draws and writes, and
does not see where things stand; it draws the pictures on which it learns that.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import JanusForConditionalGeneration, JanusProcessor, JanusVQVAE

from selfportrait import progress, store
from selfportrait.micro import eyes, lessons, picture_tokenizer, unified
from selfportrait.micro.lessons import Drawings, Looks, Texts
from selfportrait.micro.unified_training import LEARNING_RATE, MUON_LEARNING_RATE, Batch, UnifiedTrainer
from selfportrait.models._janus_words import Words
from selfportrait.models._tokens import chunks
from selfportrait.models.janus import Janus
from selfportrait.seeds import derive
from selfportrait.training import checkpoint

__all__ = ["build"]

TOKENIZER_STEPS, STEPS = 3_400, 5_000
RESTART = 0.8  # share of the updates after which the learning rate rises once more
DRAWINGS, LOOKS, TEXTS = 192_000, 32_000, 16_000
OWN_FROM = 0.6  # share of the updates before the restart after which it looks at pictures of its own, too
OWN_PICTURES, LATER_OWN_PICTURES = 3_000, 6_000  # drawn by the model at that update, and at the restart
LAST_OWN_PICTURES = 8_000  # drawn by the model that comes first
OWN_SHARE = 1 / 3  # of the pictures that are looked at, once it has drawn some
LAST_OWN_SEED = 1_000  # of the scenes that these are to show
CHECKPOINT_EVERY = 100
GUIDANCE = 2.0


class Taught(NamedTuple):
    """What an update may learn from."""

    drawn: Drawings
    seen: Looks
    written: Texts


class Training(NamedTuple):
    """So many updates on the same batches, at a share of the learning rates of the first ones."""

    steps: int
    batch: Batch
    rate: float


# With its eyes open: to draw first of all, and then to look.
LAST = (Training(2_200, Batch(128, 24, 8, 8), 1.0), Training(800, Batch(64, 40, 10, 6), 0.8))


def build(
    out: Path,
    *,
    steps: int = STEPS,
    tokenizer_steps: int = TOKENIZER_STEPS,
    last: Sequence[Training] = LAST,
    drawings: int = DRAWINGS,
    looks: int = LOOKS,
    own_pictures: tuple[int, int, int] = (OWN_PICTURES, LATER_OWN_PICTURES, LAST_OWN_PICTURES),
    seed: int = 0,
    device: str = "cpu",
) -> Path:
    """Train the token model and save it in `out`; what is finished in `out`/.build is used as it is."""
    work = out / ".build"
    tokenizer = _picture_tokenizer(work, tokenizer_steps, seed, device)
    processor = unified.new_processor()
    words = Words(processor, unified.CONTEXT)
    taught = _lessons(work, words, tokenizer, drawings, looks, seed, device)
    first = work / "first"
    if not (first / "config.json").is_file():
        model = unified.new_model(processor, tokenizer, seed=seed)
        restart = round(RESTART * steps)
        trainer = UnifiedTrainer(model, words, steps=steps, restart=restart, seed=seed, device=device)
        _train_first(trainer, processor, words, work, taught, own_pictures[:2], seed)
        _save_averaged(trainer, processor, first)
    model = JanusForConditionalGeneration.from_pretrained(first, dtype=torch.float32, use_safetensors=True)
    asked = _last_looks(first, words, work, own_pictures[2], seed, device)
    taught, heads = taught._replace(seen=_mixed(taught.seen, asked)), eyes.new_heads(unified.WIDTH, seed=seed)
    for number, training in enumerate(last):
        trainer = UnifiedTrainer(
            model,
            words,
            steps=training.steps,
            batch=training.batch,
            heads=heads,
            learning_rate=training.rate * LEARNING_RATE,
            muon_learning_rate=training.rate * MUON_LEARNING_RATE,
            seed=seed + 1 + number,
            device=device,
        )
        _train(trainer, work / f"last-{number}", training.steps, taught)
        trainer.use_ema()
    unified.save(model, processor, out)
    return out


def _picture_tokenizer(work: Path, steps: int, seed: int, device: str) -> JanusVQVAE:
    """The trained tokenizer; a later call reads what an earlier one saved."""
    folder = work / "picture-tokenizer"
    if not (folder / "config.json").is_file():
        model = picture_tokenizer.new_picture_tokenizer(token_width=unified.WIDTH, seed=seed)
        trainer = picture_tokenizer.PictureTokenizerTrainer(model, steps=steps, seed=seed, device=device)
        first = _resume(trainer, work / "picture-tokenizer-checkpoints")
        with progress.bar("training the picture tokenizer", total=steps, done=first) as advance:
            for index in range(first, steps):
                error = trainer.step(index)
                _keep(trainer, work / "picture-tokenizer-checkpoints", index, steps, {"error": error})
                advance(1)
        partial = folder.with_suffix(".partial")
        picture_tokenizer.save(model.cpu().eval(), partial)
        partial.replace(folder)
    return JanusVQVAE.from_pretrained(folder, use_safetensors=True)


def _lessons(
    work: Path, words: Words, tokenizer: JanusVQVAE, drawings: int, looks: int, seed: int, device: str
) -> Taught:
    """Everything that is learnt before the model has drawn anything itself."""
    scenes = lessons.draw_scenes(drawings, seed)

    def encode() -> dict[str, Tensor]:
        with progress.bar("drawing and encoding pictures", total=drawings) as advance:
            return lessons.tokenize(scenes, words, tokenizer, device=device, on_step=advance)._asdict()

    drawn = Drawings(**_cached(work / f"drawings-{drawings}.safetensors", encode))

    def ask() -> dict[str, Tensor]:
        with progress.bar("decoding pictures and asking about them", total=2 * looks) as advance:
            pictures = lessons.see(drawn.codes[:looks], tokenizer, device=device, on_step=advance)
            claims, truth = scenes.claims[:looks], scenes.scenes[:looks]
            return lessons.looks(pictures, claims, words, scenes=truth, seed=seed, on_step=advance)._asdict()

    seen = Looks(**_cached(work / f"looks-{looks}.safetensors", ask))
    return Taught(drawn, seen, lessons.texts(TEXTS, words, seed=seed))


def _train_first(
    trainer: UnifiedTrainer,
    processor: JanusProcessor,
    words: Words,
    work: Path,
    taught: Taught,
    own_pictures: Sequence[int],
    seed: int,
) -> None:
    """All updates of the model that comes first; twice on the way it is asked about pictures of its own."""
    truth, begins = taught.seen, (int(OWN_FROM * trainer.restart), trainer.restart)
    for begin, count in zip(begins, own_pictures, strict=True):
        _train(trainer, work, begin, taught)
        own = _own_looks(trainer, processor, words, work, count, begin, seed)
        taught = taught._replace(seen=_mixed(truth, own))
    _train(trainer, work, trainer.steps, taught)


def _own_looks(
    trainer: UnifiedTrainer, processor: JanusProcessor, words: Words, work: Path, count: int, step: int, seed: int
) -> Looks:
    """Questions about pictures that the model itself draws after so many steps, answered by the exact detector."""

    def ask() -> dict[str, Tensor]:
        _save_averaged(trainer, processor, work / "half-trained")
        scenes = lessons.draw_scenes(count, derive(seed, "own pictures", step))
        return _asked(scenes, work / "half-trained", words, trainer.device, seed, seed + step)

    return Looks(**_cached(work / f"own-looks-{step}-{count}.safetensors", ask))


def _last_looks(first: Path, words: Words, work: Path, count: int, seed: int, device: str) -> Looks:
    """Questions about pictures that the model which comes first draws."""

    def ask() -> dict[str, Tensor]:
        scenes = lessons.draw_scenes(count, seed + LAST_OWN_SEED)
        return _asked(scenes, first, words, device, seed + LAST_OWN_SEED, seed + 1)

    return Looks(**_cached(work / f"own-looks-last-{count}.safetensors", ask))


def _asked(
    scenes: lessons.Scenes, artist: Path, words: Words, device: str, picture_seed: int, question_seed: int
) -> dict[str, Tensor]:
    """Questions about what a saved model draws for the captions of scenes."""
    pictures = _draw(scenes.captions, artist, device, picture_seed)
    with progress.bar("asking about its own pictures", total=len(pictures)) as advance:
        return lessons.looks(pictures, scenes.claims, words, seed=question_seed, on_step=advance)._asdict()


def _save_averaged(trainer: UnifiedTrainer, processor: JanusProcessor, folder: Path) -> None:
    """Save the averaged weights of a training that may go on, whole or not at all."""
    model = JanusForConditionalGeneration(trainer.model.config)
    model.load_state_dict({**trainer.model.state_dict(), **trainer.averaged()})
    partial = folder.with_suffix(".partial")
    unified.save(model, processor, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _draw(captions: list[str], folder: Path, device: str, seed: int) -> Tensor:
    """One picture a caption, as users draw them: (N, H, W, 3) in bytes."""
    artist = Janus(path=str(folder), train="full", guidance_scale=GUIDANCE, batch_size=64, device=device).load()
    pictures = []
    with progress.bar("letting it draw", total=len(captions)) as advance:
        for part in chunks(len(captions), artist.batch_size):
            seeds = [derive(seed, "own picture", index) for index in range(part.start, part.stop)]
            images = artist.sample(artist.encode(captions[part]), seeds).images
            pictures += [torch.from_numpy(np.array(image)) for image in images]
            advance(len(images))
    return torch.stack(pictures)


def _mixed(truth: Looks, own: Looks) -> Looks:
    """Pictures of the truth, and its own so many times that they are a third; ids are padded to the longer of both."""
    times = max(1, round(OWN_SHARE / (1 - OWN_SHARE) * len(truth.pictures) / len(own.pictures)))
    mixed = []
    for first, second in zip(truth, own, strict=True):
        width = max(first.shape[-1], second.shape[-1])
        both = (first, *[second] * times)
        mixed.append(torch.cat([F.pad(part, (0, width - part.shape[-1])) if part.ndim > 1 else part for part in both]))
    return Looks(*mixed)


def _train(trainer: UnifiedTrainer, work: Path, until: int, taught: Taught) -> None:
    first = _resume(trainer, work / "checkpoints")
    with progress.bar("training the model", total=trainer.steps, done=min(first, until)) as advance:
        for index in range(first, until):
            losses = trainer.step(index, *taught)
            _keep(trainer, work / "checkpoints", index, until, losses)
            if (index + 1) % 50 == 0:
                store.append_jsonl(work / "loss.jsonl", {"step": index + 1, **losses})
            advance(1)


def _resume(trainer: UnifiedTrainer | picture_tokenizer.PictureTokenizerTrainer, folder: Path) -> int:
    saved = checkpoint.latest(folder)
    if saved is None:
        return 0
    trainer.load_state(saved.tensors)
    return saved.step


def _keep(
    trainer: UnifiedTrainer | picture_tokenizer.PictureTokenizerTrainer,
    folder: Path,
    index: int,
    last: int,
    values: Mapping[str, float],
) -> None:
    if (index + 1) % CHECKPOINT_EVERY == 0 or index + 1 == last:
        checkpoint.save(folder, index + 1, trainer.state(), dict(values), keep=1)


def _cached(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What an earlier call made, or made now and kept."""
    if not path.is_file():
        temporary = path.with_suffix(".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in make().items()}, temporary)
        temporary.replace(path)
    return load_file(path)
