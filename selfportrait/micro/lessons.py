"""What the micro token model learns from: pictures to draw, questions about pictures, and texts to write, as ids.

Read this to see what it is taught. Its captions are not all true: like captions of the web they mix up what belongs to
what and overlook things, so the trained model draws that too; its questions are all answered exactly, so it sees better
than it draws.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import JanusVQVAE

from selfportrait.asking.perturb import Edit
from selfportrait.asking.questions import whole_question
from selfportrait.micro import eyes, rewriting
from selfportrait.micro.autoencoder import pixels_of
from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import NUMBERS, PLACES, RELATIONS, Check, Claim, Phrase, checks, say
from selfportrait.micro.logic import truth
from selfportrait.micro.picture_tokenizer import GRID, decode, tokens_of
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, is_held_out, lay_out, with_one_more
from selfportrait.micro.world import GRID as CELLS
from selfportrait.micro.world import SIDE, Scene, render
from selfportrait.micro.writing import TASKS, examples
from selfportrait.models._janus_words import Words
from selfportrait.types import Detection

__all__ = [
    "Drawings",
    "Looks",
    "Scenes",
    "Texts",
    "WHAT_IS_THERE",
    "describe",
    "draw_scenes",
    "looks",
    "questions_about",
    "questions_between",
    "see",
    "texts",
    "tokenize",
]

CATEGORIES = {"color": 1.0, "shape": 1.0, "spatial": 2.0, "numeracy": 2.0, "complex": 1.6}
DETAILED = 0.2  # share of the captions that are detailed versions of others
MISTAKEN = 0.4  # share of the captions that say something else than what is there
MIXED_UP = 0.25  # share of these, where they relate nothing, that mix up what belongs to what
QUESTIONS, BETWEEN = 12, 8  # about a picture: of every kind, and of counts, places and above all relations
RELATIONS_FIRST = 6  # of the latter, where a picture has shapes that can stand in one
ASKED_KINDS = 3  # kinds of shapes that are there, and pairs of them, to ask about
WHAT_IS_THERE = "What is there?"  # answered by naming everything: it teaches to look, and nobody asks it later
LONGEST_PROMPT, LONGEST_QUESTION, LONGEST_TEXT, LONGEST_LIST = 40, 40, 112, 72  # tokens
ENCODED_AT_ONCE = 25  # pictures; full-resolution activations of more leave a CPU's cache


class Scenes(NamedTuple):
    """Captions, what each claims, and scenes of which that is true, or nearly."""

    captions: list[str]
    claims: list[Claim]
    scenes: list[Scene]


class Drawings(NamedTuple):
    """Captions as ids (N, L), padded on the right, their lengths (N,), and the codes of their pictures (N, T)."""

    prompts: Tensor
    lengths: Tensor
    codes: Tensor


class Looks(NamedTuple):
    """Pictures (N, H, W, 3) in bytes with Q questions each: ids (N, Q, L) padded on the right, lengths, the answers.

    `lists` (N, M) are the ids of question and answer that name everything in a picture, from `list_starts` on the
    answer; `list_lengths` counts both. `cells` (N, 3, G, G) are colour, shape and size in each cell.
    """

    pictures: Tensor
    questions: Tensor
    lengths: Tensor
    answers: Tensor
    lists: Tensor
    list_starts: Tensor
    list_lengths: Tensor
    cells: Tensor


class Texts(NamedTuple):
    """Conversations as ids (N, L), padded on the right: what is to be written goes from `starts` to `ends`."""

    ids: Tensor
    starts: Tensor
    ends: Tensor


# Drawing


def draw_scenes(count: int, seed: int) -> Scenes:
    """Draw captions and scenes of the training split."""
    rng = random.Random(f"lessons-{seed}")
    found: list[tuple[str, Claim, Scene]] = []
    while len(found) < count:
        drawn = _claim(rng)
        if is_held_out(text := say(drawn)):
            continue
        is_mistaken = rng.random() < MISTAKEN
        found.append((text, drawn, lay_out(_mistaken(drawn, rng) if is_mistaken else drawn, rng)))
    captions, claims, scenes = zip(*found, strict=True)
    return Scenes(list(captions), list(claims), list(scenes))


def _claim(rng: random.Random) -> Claim:
    category = rng.choices(list(CATEGORIES), list(CATEGORIES.values()))[0]
    drawn = claim(category, rng)
    if rng.random() >= DETAILED:
        return drawn
    changed = rewriting.perturb(drawn, rng.choice(get_args(Edit)), rng)
    if changed is None:
        return drawn
    return rng.choice(rewriting.densify(drawn, changed, rng))


def _mistaken(claim: Claim, rng: random.Random) -> Claim:
    """What is there when a caption claims something else, as one that is written carelessly does.

    Mostly one shape more than it counts; else its colours, sizes or numbers at the wrong shapes, where it has them.
    """
    is_mixed_up = claim.relation is None and rng.random() < MIXED_UP
    swapped = rewriting.perturb(claim, "swap", rng) if is_mixed_up else None
    return swapped or with_one_more(claim, rng)


@torch.no_grad()
def tokenize(
    scenes: Scenes,
    words: Words,
    tokenizer: JanusVQVAE,
    *,
    device: str = "cpu",
    on_step: Callable[[int], None],
) -> Drawings:
    """Encode captions and the pictures of their scenes."""
    ids = [words.prompt(text, GRID**2) for text in scenes.captions]
    tokenizer = tokenizer.to(device).eval()
    codes = []
    for start in range(0, len(ids), ENCODED_AT_ONCE):
        pictures = pixels_of([render(scene) for scene in scenes.scenes[start : start + ENCODED_AT_ONCE]])
        codes.append(tokens_of(tokenizer, pictures.to(device)).short().cpu())
        on_step(len(pictures))
    return Drawings(_padded(ids, LONGEST_PROMPT, words.pad), _lengths(ids), torch.cat(codes))


# Looking


@torch.no_grad()
def see(codes: Tensor, tokenizer: JanusVQVAE, *, device: str = "cpu", on_step: Callable[[int], None]) -> Tensor:
    """The pictures (N, H, W, 3) of codes, in bytes: as the model will see its own."""
    tokenizer = tokenizer.to(device).eval()
    pictures = []
    for part in codes.split(ENCODED_AT_ONCE):
        pixels = decode(tokenizer, part.long().to(device)).clamp(-1, 1)
        pictures.append(((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu())
        on_step(len(part))
    return torch.cat(pictures)


def looks(
    pictures: Tensor,
    claims: Sequence[Claim],
    words: Words,
    *,
    scenes: Sequence[Scene] | None = None,
    seed: int,
    on_step: Callable[[int], None],
) -> Looks:
    """Ask about pictures; the truth is that of their scenes, or what the exact detector finds in them."""
    rng = random.Random(f"looks-{seed}")
    asked, answers, lists, starts, cells = [], [], [], [], []
    for index, own in enumerate(claims):
        if scenes is None:
            image = Image.fromarray(np.asarray(pictures[index]))
            found, background = detect(image), background_of(image)
        else:
            found, background = truth(scenes[index]), scenes[index].background
        pairs = questions_about(own, found, background, rng)
        pairs += questions_between(found, background, rng) or pairs[:BETWEEN]  # nothing stands in an empty picture
        asked.append(words.questions([question for question, _ in pairs])[1])
        answers.append([words.answers(answer)[0] for _, answer in pairs])
        question = words.questions([WHAT_IS_THERE])[1][0]
        named = words.tokenizer(f" {describe(found, background)}", add_special_tokens=False)["input_ids"]
        lists.append([*question, *named, words.end][:LONGEST_LIST])
        starts.append(len(question))
        cells.append(eyes.cells(found))
        on_step(1)
    flat = list(chain.from_iterable(asked))
    return Looks(
        pictures,
        _padded(flat, LONGEST_QUESTION, words.pad).view(len(asked), QUESTIONS + BETWEEN, -1),
        _lengths(flat).view(len(asked), QUESTIONS + BETWEEN),
        torch.tensor(answers),
        _padded(lists, LONGEST_LIST, words.pad),
        torch.tensor(starts),
        _lengths(lists),
        torch.stack(cells),
    )


def describe(found: Sequence[Detection], background: str) -> str:
    """Name everything in reading order: "gray: small red circle, blue star"; medium shapes have no size."""
    cell = SIDE // CELLS

    def place(detection: Detection) -> tuple[int, int]:
        x0, y0, x1, y1 = detection.box
        return (y0 + y1) // 2 // cell, (x0 + x1) // 2 // cell

    names = [_name(detection) for detection in sorted(found, key=place)]
    return f"{background}: {', '.join(names)}"


def _name(detection: Detection) -> str:
    size = detection.attributes["size"]
    return " ".join([size] * (size != "medium") + [detection.attributes["colour"], detection.attributes["shape"]])


def questions_about(own: Claim, found: list[Detection], background: str, rng: random.Random) -> list[tuple[str, bool]]:
    """Questions with their true answers: each kind as often as it comes, in each kind yes as often as no."""
    pool = _pool(own, found, background, rng)
    kinds = list(pool)
    pairs: list[tuple[str, bool]] = []
    while len(pairs) < QUESTIONS:
        by_answer = pool[rng.choice(kinds)]
        answer = rng.random() < 0.5
        if by_answer[answer]:
            pairs.append((rng.choice(by_answer[answer]), answer))
    return pairs


def questions_between(found: list[Detection], background: str, rng: random.Random) -> list[tuple[str, bool]]:
    """Questions about shapes that are there: how two stand, how many there are and where, yes as often as no.

    From yes and no about how two stand a small model learns slowest; so most are of these, where there are two kinds.
    """
    related: dict[bool, list[str]] = {True: [], False: []}
    others: dict[bool, list[str]] = {True: [], False: []}
    for check in _about(found, rng):
        pool = related if check.kind == "relation" else others
        pool[verify(check, found, background)].append(check.text)
    pairs = []
    for index in range(BETWEEN if others[True] else 0):
        pool = related if index < RELATIONS_FIRST and related[True] and related[False] else others
        wanted = rng.random() < 0.5
        answer = wanted if pool[wanted] else not wanted
        pairs.append((rng.choice(pool[answer]), answer))
    return pairs


def _pool(own: Claim, found: list[Detection], background: str, rng: random.Random) -> dict[str, dict[bool, list[str]]]:
    """Questions by kind and answer, from the claim itself, versions of it, and others."""
    claims = [own, *_versions(own, rng), claim(rng.choice(SHAPE_CATEGORIES), rng)]
    pool: dict[str, dict[bool, list[str]]] = {}

    def add(kind: str, text: str, answer: bool) -> None:
        pool.setdefault(kind, {True: [], False: []})[answer].append(text)

    for one in claims:
        asked = checks(one)
        verdicts = [verify(check, found, background) for check in asked]
        for check, verdict in zip(asked, verdicts, strict=True):
            add(check.kind, check.text, verdict)
        add("whole", whole_question(say(one)), all(verdicts))
    for check in _about(found, rng):
        add(check.kind, check.text, verify(check, found, background))
    for number in NUMBERS:  # the number of shapes, near the right one
        total = NUMBERS.index(number) + 1
        if abs(total - len(found)) < 3:
            noun = "is there exactly one shape?" if total == 1 else f"are there exactly {number} shapes?"
            add("total", noun.capitalize(), total == len(found))
    return {kind: answers for kind, answers in pool.items() if answers[True] and answers[False]} or pool


def _about(found: Sequence[Detection], rng: random.Random) -> Iterator[Check]:
    """Checks of shapes that are there: how many of a kind, where one is, how two stand; true ones and others."""
    kinds = list(dict.fromkeys((one.attributes["colour"], one.attributes["shape"]) for one in found))
    for colour, shape in rng.sample(kinds, min(len(kinds), ASKED_KINDS)):
        one = Phrase(1, shape, colour)
        count = sum(other.attributes["colour"] == colour and other.attributes["shape"] == shape for other in found)
        for number in (count - 1, count, count, count + 1):
            if 0 < number <= len(NUMBERS):
                yield from checks(Claim((replace(one, count=number, is_counted=True),)))
        for place in PLACES:
            yield checks(Claim((one,), place=place))[-1]
    for _ in range(ASKED_KINDS if len(kinds) > 1 else 0):
        pair = tuple(Phrase(1, shape, colour) for colour, shape in rng.sample(kinds, 2))
        for relation in RELATIONS:
            yield checks(Claim(pair, relation=relation))[-1]


def _versions(own: Claim, rng: random.Random) -> Iterator[Claim]:
    for edit in chain(get_args(Edit), get_args(Edit)):
        changed = rewriting.perturb(own, edit, rng)
        if changed is not None:
            yield changed


# Writing


def texts(count: int, words: Words, *, seed: int) -> Texts:
    """Conversations of every task in words, with what is to be written."""
    tasks = [examples(task, seed=seed) for task in TASKS if task != "answer"]
    rows, starts = [], []
    for index in range(count):
        example = next(tasks[index % len(tasks)])
        asked = words.conversation(example.conversation, 0)
        written = words.tokenizer(f" {example.target}", add_special_tokens=False)["input_ids"]
        rows.append([*asked, *written, words.end])
        starts.append(len(asked))
    return Texts(_padded(rows, LONGEST_TEXT, words.pad), torch.tensor(starts), _lengths(rows))


def _padded(rows: Sequence[Sequence[int]], length: int, pad: int) -> Tensor:
    longest = max(map(len, rows))
    if longest > length:
        raise ValueError(f"a text of the micro language has {longest} tokens, and there is room for {length} only")
    padded = torch.full((len(rows), longest), pad, dtype=torch.int16)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int16)
    return padded


def _lengths(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([len(row) for row in rows])
