"""What sharing a prefix and keeping little saves a token model, and what a training step costs, as ratios in one run.

    python perf/tokens.py [--model PATH] [--only answer|sample|attend|train] [--repeats 5] [--clock cpu]
                          [--side 24] [--layers 8] [--width 256]

Without `--model` the network is a Janus of that size with random weights, whose pictures are side x side tokens. Times
are medians over neighbours (see step_cost.py), memory is the peak of a process of its own above the loaded model. The
exit code is 1 when a ratio is on the wrong side of its limit.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from common import show
from memory import peak, start_watching
from PIL import Image
from step_cost import CLOCKS, Call, Meter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from selfportrait import console
from selfportrait.models.janus import Janus
from selfportrait.training.optimizer import Optimizer

ANSWER_LIMIT, SAMPLE_LIMIT, ATTEND_LIMIT, TRAIN_LIMIT = 3.0, 2.0, 5.0, 1.15
COLORS = ("red", "blue", "green", "black", "white", "pink", "gray", "tan")
QUESTIONS = [f"Is there a {color} circle in the picture?" for color in COLORS]
CANDIDATES = 8
PROMPT = "two red circles left of a blue square on a white background"
SPECIAL = {
    "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
    "image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>",
}  # fmt: skip


class Row(NamedTuple):
    """A measured ratio: how many times less we need (a saving), or how many times more (a cost)."""

    name: str
    ours: str
    theirs: str
    ratio: float
    limit: float
    is_saving: bool

    @property
    def is_within(self) -> bool:
        """On the right side of its limit."""
        return self.ratio >= self.limit if self.is_saving else self.ratio <= self.limit

    def cells(self) -> list[str]:
        """The row of the table."""
        limit = f"at {'least' if self.is_saving else 'most'} {self.limit:.2f}"
        verdict = "[green]PASS[/]" if self.is_within else "[red]missed[/]"
        return [self.name, self.ours, self.theirs, f"{self.ratio:.2f}", limit, verdict]


def main() -> int:
    """Measure, print, and say by the exit code whether everything is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a JanusForConditionalGeneration; default: random weights")
    parser.add_argument("--only", choices=["answer", "sample", "attend", "train"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--side", type=int, default=24, help="tokens along each side of a picture")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--child", choices=["attend", "outputs"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console.silence_libraries()
    if arguments.child:
        print(peak_of(arguments.child, arguments.model))
        return 0
    with checkpoint(arguments) as path:
        rows = list(measure(path, arguments))
    title = f"{arguments.clock} time, {arguments.repeats} repeats, {torch.get_num_threads()} threads"
    show(title, ["what", "ours", "theirs", "ratio", "limit", ""], [row.cells() for row in rows])
    return int(not all(row.is_within for row in rows))


def measure(path: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """Everything that was asked for."""
    meter = Meter(arguments.repeats, CLOCKS[arguments.clock])
    asked = [arguments.only] if arguments.only else ["answer", "sample", "attend", "train"]
    if "answer" in asked:
        yield measure_answers(path, meter)
    if "sample" in asked:
        yield measure_sampling(path, meter)
    if "attend" in asked:
        yield measure_maps(path, arguments.repeats)
    if "train" in asked:
        yield from (measure_training(path, train, meter) for train in ("lora", "full"))


def times(name: str, ours: Call, theirs: Call, meter: Meter, limit: float) -> Row:
    """How many times faster our call is than theirs."""
    cost = meter.compare(name, 1, theirs, ours, None)
    return Row(name, f"{1000 * cost.bare_seconds:.0f} ms", f"{1000 * cost.seconds:.0f} ms", cost.ratio, limit, True)


@torch.no_grad()
def measure_answers(path: str, meter: Meter) -> Row:
    """One picture with 8 questions, against a forward of the whole text a question; theirs comes already encoded."""
    model = Janus(path=path, train="full").load()
    side = model.config.vision_config.image_size
    picture = Image.effect_noise((side, side), 50).convert("RGB")
    prefix, asked = model.words.questions(QUESTIONS)
    pixels = model.processor.image_processor([picture], return_tensors="pt")["pixel_values"].to(model.device)
    ids = [torch.tensor([[*prefix, *question]], device=model.device) for question in asked]

    def one_by_one() -> torch.Tensor:
        rows = [model.model(input_ids=row, pixel_values=pixels, logits_to_keep=1).logits[:, -1] for row in ids]
        yes = model.words.answers(True)
        return torch.cat(rows).float().softmax(-1)[:, yes].amax(1)

    def together() -> torch.Tensor:
        return model.answer([picture] * len(QUESTIONS), QUESTIONS).p_yes

    assert torch.allclose(together(), one_by_one().cpu(), rtol=1e-3), "the answers differ"
    return times(f"answer {len(QUESTIONS)} questions", together, one_by_one, meter, ANSWER_LIMIT)


@torch.no_grad()
def measure_sampling(path: str, meter: Meter) -> Row:
    """The tokens of 8 candidates of one prompt, against generate on the same number of rows at the same guidance."""
    model = Janus(path=path, train="full", temperature=0.0).load()
    tokenizer = model.processor.tokenizer
    model.model.generation_config.generation_kwargs = {"boi_token_id": tokenizer.boi_token_id}
    prompts = model.encode([PROMPT]).repeat(CANDIDATES)

    def ours() -> torch.Tensor:
        return model._draw(prompts, range(CANDIDATES))

    def theirs() -> torch.Tensor:
        drawn: torch.Tensor = model.model.generate(
            prompts.ids.to(model.device),
            attention_mask=prompts.mask.long().to(model.device),
            generation_mode="image",
            do_sample=False,
            guidance_scale=model.guidance_scale,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return drawn

    assert torch.equal(ours(), theirs()), "the tokens differ"
    return times(f"draw {CANDIDATES} candidates, {model.num_tokens} tokens", ours, theirs, meter, SAMPLE_LIMIT)


def measure_maps(path: str, repeats: int) -> Row:
    """An object's map of one picture, against keeping the attention of every layer and head."""
    ours, theirs = (in_processes(kind, path, repeats) for kind in ("attend", "outputs"))
    cells = (f"{bytes_ / 2**20:.1f} MiB" for bytes_ in (ours, theirs))
    return Row("attention map, peak memory", *cells, theirs / ours, ATTEND_LIMIT, True)


def in_processes(kind: str, path: str, repeats: int) -> float:
    """The median peak over processes, in bytes."""
    command = [sys.executable, __file__, "--child", kind, "--model", path]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(repeats)]
    return statistics.median(float(output.split()[-1]) for output in outputs)


@torch.no_grad()
def peak_of(kind: str, path: str) -> int:
    """What this process needs at its peak above what it holds when it starts, in bytes."""
    model = Janus(path=path, train="full").load()
    model.model.set_attn_implementation("eager" if kind == "outputs" else "sdpa")
    prompt, span = model.encode([PROMPT]), [[model.span(PROMPT, "circles")]]
    tokens = torch.zeros(1, model.num_tokens, dtype=torch.long, device=model.device)

    def outputs(tokens: torch.Tensor) -> Any:
        states = model._read(prompt, tokens)[0]
        return model.decoder(inputs_embeds=states, output_attentions=True).attentions

    outputs(tokens[:, :1]) if kind == "outputs" else model.log_likelihood(tokens[:, :2], prompt)  # libraries load
    before = start_watching()
    outputs(tokens) if kind == "outputs" else model.attend(tokens, prompt, span)
    return peak() - before


def measure_training(path: str, train: str, meter: Meter) -> Row:
    """A step on a pair (likelihoods, loss, clipping, AdamW), against forward and backward of the network on it."""
    model = Janus(path=path, train=train).load()  # type: ignore[arg-type]
    active = Optimizer(learning_rate=1e-12).start(model.trainable())
    prompts = model.encode([PROMPT]).repeat(2)
    vocabulary = model.config.vq_config.num_embeddings
    tokens = torch.randint(vocabulary, (2, model.num_tokens), generator=torch.Generator().manual_seed(0))
    tokens = tokens.to(model.device)

    def step() -> None:
        active.zero_grad()
        chosen, rejected = model.log_likelihood(tokens, prompts).chunk(2)
        (-F.logsigmoid(0.1 * (chosen - rejected))).mean().backward()
        active.step()

    def bare() -> None:
        for parameter in model.trainable().values():
            parameter.grad = None
        states = torch.cat([model.decoder.embed_tokens(prompts.ids.to(model.device)), model._embed(tokens[:, :-1])], 1)
        hidden = model.decoder(inputs_embeds=states, use_cache=False).last_hidden_state[:, prompts.ids.shape[1] - 1 :]
        logits = model.model.model.generation_head(hidden).float()
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()

    cost = meter.compare(f"training step, {train}", 2, step, bare, TRAIN_LIMIT)
    cells = (f"{1000 * seconds:.0f} ms" for seconds in (cost.seconds, cost.bare_seconds))
    return Row(cost.name, *cells, cost.ratio, TRAIN_LIMIT, False)


@contextmanager
def checkpoint(arguments: argparse.Namespace) -> Iterator[str]:
    """The checkpoint that was named; else one with random weights, for a while."""
    if arguments.model is not None:
        yield arguments.model
        return
    with tempfile.TemporaryDirectory() as folder:
        save_random(Path(folder), side=arguments.side, layers=arguments.layers, width=arguments.width)
        yield folder


def save_random(folder: Path, *, side: int, layers: int, width: int) -> None:
    """Write a Janus of a size, with a tokenizer of bytes; weights are large enough that tokens do not repeat."""
    tokenizer = byte_tokenizer()
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(width // 64, 1),
        max_position_embeddings=2048,
        initializer_range=0.1,
    )
    vision = JanusVisionConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(width // 64, 1),
        image_size=16 * side,
        projection_dim=width,
        num_image_tokens=side**2,
    )
    codes = JanusVQVAEConfig(
        num_embeddings=4096,
        base_channels=32,
        num_res_blocks=1,
        projection_dim=width,
        image_token_embed_dim=width,
        initializer_range=0.2,
    )
    config = JanusConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        vq_config=codes.to_dict(),
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    JanusForConditionalGeneration(config).save_pretrained(folder)
    resize = JanusImageProcessorPil(size={"height": 16 * side, "width": 16 * side})
    JanusProcessor(resize, tokenizer, num_image_tokens=side**2).save_pretrained(folder)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word or byte, and Janus' special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = [*SPECIAL.values(), "<|User|>", "<|Assistant|>"]
    vocabulary = {token: number for number, token in enumerate([*marks, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(marks)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    usual = {name: SPECIAL[name] for name in ("bos_token", "eos_token", "pad_token")}
    extra = {name: token for name, token in SPECIAL.items() if name not in usual}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=extra, **usual)


if __name__ == "__main__":
    sys.exit(main())
