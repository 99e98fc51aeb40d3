"""What judging in batches, with nothing embedded twice, saves over one picture after another; and kept scores.

    python perf/judges.py [--prompts 4] [--pictures 8] [--repeats 3] [--clock cpu] [--only judges|kept|memory]

Networks are of the real classes with random weights: a sixth of a ViT-B/32 for CLIP and PickScore, as much of a BLIP.
One after another, the judge gets a prompt and a picture at a time, and BLIP-VQA one question at a time, as published
scripts do; before anything is timed both sides must give the same scores. Ratios are medians over neighbours in time,
A B B A. Kept scores are read through the command, with pictures of noise that are hashed and never decoded. Peak memory
of summing up a table is above what was resident before, of a tenth of the rows and of all, each in its own process.
The exit code is 1 when something is on the wrong side.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from common import show
from memory import peak, start_watching
from PIL import Image
from step_cost import CLOCKS, Meter
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, CLIPConfig, CLIPModel

from selfportrait import console, store
from selfportrait.commands import judge as command
from selfportrait.commands.scores import summarise
from selfportrait.config import bind_section
from selfportrait.judges.blip_vqa import BlipVqa
from selfportrait.judges.clip_score import ClipScore
from selfportrait.judges.pick_score import PickScore
from selfportrait.micro.denoisers import new_tokenizer
from selfportrait.score_cache import Key, ScoreCache, file_hash, identity
from selfportrait.types import Prompt, Score

LIMIT = 1.0  # of our time over theirs
MOST_SECONDS = 5.0
MOST_GROWTH = 16 * 2**20
KEPT, ROWS, ROWS_PER_PART = 10_000, 1_000_000, 62_500
WIDTH = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4, "num_hidden_layers": 6}
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "pink", "grey")
QUESTIONS = ["a red cat?", "a green dog?", "a bird?", "the sky?"]


def main() -> int:
    """Measure, print, and say by the exit code whether everything is on the right side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=8, help="pictures of each prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--only", choices=["judges", "kept", "memory"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        before = start_watching()
        summarise(Path(arguments.child))
        print(peak() - before)
        return 0
    console.silence_libraries()
    parts = {"judges": judges, "kept": kept, "memory": memory}
    return max([part(arguments) for name, part in parts.items() if arguments.only in (None, name)])


def judges(arguments: argparse.Namespace) -> int:
    """Each judge on groups of pictures, together and one after another."""
    count = arguments.prompts * arguments.pictures
    prompts = [Prompt(str(index), f"a {COLOURS[index]} cat and a dog") for index in range(arguments.prompts)]
    beside = [prompt for prompt in prompts for _ in range(arguments.pictures)]
    pictures = [noise(index) for index in range(count)]
    meter = Meter(arguments.repeats, CLOCKS[arguments.clock])
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        clip, blip = new_clip(Path(folder, "clip")), new_blip(Path(folder, "blip"))
        both: dict[str, Any] = {}
        for judge in (ClipScore(path=clip, device="cpu"), PickScore(path=clip, tokenizer=clip, device="cpu")):
            both[type(judge).__name__] = (
                partial(together, judge, beside, pictures),
                partial(alone, judge, beside, pictures),
            )
        vqa = BlipVqa(path=blip, device="cpu")
        both["BlipVqa"] = (partial(answers, vqa, pictures), partial(answers_alone, vqa, pictures))
        for name, (ours, theirs) in both.items():
            assert np.allclose(ours(), theirs(), atol=1e-4), name
            costs.append(meter.compare(name, count, ours, theirs, LIMIT))
    show(
        f"{arguments.clock} time, {arguments.prompts} prompts with {arguments.pictures} pictures each",
        ["judge", "pictures", "ms", "one by one, ms", "ratio", "middle half", "limit", ""],
        [cost.cells() for cost in costs],
    )
    return int(any(cost.ratio > LIMIT for cost in costs))


def together(judge: Any, prompts: Sequence[Prompt], pictures: Sequence[Image.Image]) -> list[float]:
    """Everything in one call."""
    return [score.value for score in judge(prompts, pictures)]


def alone(judge: Any, prompts: Sequence[Prompt], pictures: Sequence[Image.Image]) -> list[float]:
    """One call a picture."""
    return [judge([prompt], [picture])[0].value for prompt, picture in zip(prompts, pictures, strict=True)]


def answers(judge: BlipVqa, pictures: Sequence[Image.Image]) -> list[list[float]]:
    """Four questions about each picture in one call."""
    return judge.answer(pictures, [QUESTIONS] * len(pictures))


def answers_alone(judge: BlipVqa, pictures: Sequence[Image.Image]) -> list[list[float]]:
    """One call a question."""
    return [[judge.answer([picture], [[question]])[0][0] for question in QUESTIONS] for picture in pictures]


def kept(_: argparse.Namespace) -> int:
    """The command on pictures that were all judged before."""
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder, "pictures"), Path(folder, "cache")
        root.mkdir()
        chance = np.random.default_rng(0)
        files = [root / f"{number}.png" for number in range(KEPT)]
        for file in files:
            file.write_bytes(chance.bytes(12_000))
        section = bind_section("judge", {"name": "micro_count"})
        scores = ((Key(file_hash(file), "a red circle"), Score(0.5, None, {"exact": False})) for file in files)
        ScoreCache(cache, "micro_count", identity(section.resolved)).add(scores)
        start = time.perf_counter()
        found = command.judge(section, files, "a red circle", cache)
        seconds = time.perf_counter() - start
    assert all(verdict.score.value == 0.5 for verdict in found)
    row = [f"{KEPT} kept scores", f"{seconds:.2f} s", f"{MOST_SECONDS:.0f} s", said(seconds <= MOST_SECONDS)]
    show("pictures of 12 kB", ["what", "measured", "limit", ""], [row])
    return int(seconds > MOST_SECONDS)


def memory(_: argparse.Namespace) -> int:
    """Summing up a tenth of a table and all of it."""
    with tempfile.TemporaryDirectory() as folder:
        tenth, whole = Path(folder, "tenth"), Path(folder, "whole")
        for path, rows in ((tenth, ROWS // 10), (whole, ROWS)):
            path.mkdir()
            for part, start in enumerate(range(0, rows, ROWS_PER_PART)):
                write(path / f"part-{part:05d}.parquet", range(start, min(start + ROWS_PER_PART, rows)))
        start_time = time.perf_counter()
        totals = summarise(whole)
        seconds = time.perf_counter() - start_time
        peaks = [in_process(path) for path in (tenth, whole)]
    assert sum(one.rows for one in totals.values()) == ROWS
    growth = peaks[1] - peaks[0]
    rows = [
        [f"peak memory, {rows} rows", f"{bytes_ / 2**20:.1f} MiB", "-", "-"]
        for rows, bytes_ in zip((ROWS // 10, ROWS), peaks, strict=True)
    ]
    rows.append(["growth", f"{growth / 2**20:.1f} MiB", f"{MOST_GROWTH / 2**20:.0f} MiB", said(growth <= MOST_GROWTH)])
    rows.append([f"seconds, {ROWS} rows", f"{seconds:.2f}", "-", "-"])
    show("summing up a table of scores", ["what", "measured", "limit", ""], rows)
    return int(growth > MOST_GROWTH)


def write(path: Path, numbers: range) -> None:
    """A part of a table of scores: two judges, one in a hundred missing."""
    columns = {
        "candidate_id": [f"candidate-{number}" for number in numbers],
        "judge": ["ClipScore" if number % 2 else "PickScore" for number in numbers],
        "value": [None if number % 100 == 0 else number / 7 for number in numbers],
        "reason": ["cannot be read" if number % 100 == 0 else None for number in numbers],
        "details": [f'{{"cosine": {number}, "cut_tokens": 0}}' for number in numbers],
    }
    pq.write_table(pa.table(columns, schema=store.SCORES), path, compression="zstd", write_page_checksum=True)


def in_process(folder: Path) -> int:
    """Peak memory, in a process of its own."""
    command_line = [sys.executable, __file__, "--child", str(folder)]
    return int(subprocess.run(command_line, check=True, capture_output=True, text=True).stdout)


def noise(seed: int) -> Image.Image:
    """A picture of 256x256 pixels that no other has."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8))


def new_clip(folder: Path) -> str:
    """A CLIP with random weights."""
    tokenizer = new_tokenizer(["cat", "dog", *COLOURS])
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    sizes = {"text_config": {**WIDTH, **ids}, "vision_config": {**WIDTH, "image_size": 224, "patch_size": 32}}
    CLIPModel(CLIPConfig(**sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def new_blip(folder: Path) -> str:
    """A BLIP that answers questions, with random weights and letters for a vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "no", "?", *letters, *(f"##{one}" for one in letters)]
    torch.manual_seed(0)
    text = {**WIDTH, "vocab_size": len(words) + 2, "bos_token_id": len(words), "encoder_hidden_size": 256}
    vision = {**WIDTH, "image_size": 224, "patch_size": 16}
    BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    BertTokenizer(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)
    return str(folder)


def said(is_within: bool) -> str:
    """Whether a limit is kept, for the table."""
    return "[green]PASS[/]" if is_within else "[red]over[/]"


if __name__ == "__main__":
    sys.exit(main())
