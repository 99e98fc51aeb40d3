"""Several processes of one run for tests: forked from one that has imported everything, each as a launcher starts it.

What they do is in here, because they find it by its name: `run(commands, 2, ["improve", ...])`.
"""

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent
WAIT_S = 600
IMPORTED = ["selfportrait.cli", "selfportrait.recipes.self_improve", "selfportrait.models.janus"]


class Ended(NamedTuple):
    """How a process ended, and what it said to people and as its result."""

    code: int
    said: str
    result: str


def start(work: Callable[..., Any], count: int, folder: Path, *given: Any) -> list[Any]:
    """Start a piece of work in several processes; what each says goes into `folder`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    several = [context.Process(target=_one, args=(number, count, port, folder, work, given)) for number in range(count)]
    for one in several:
        one.start()
    return several


def run(work: Callable[..., Any], count: int, folder: Path, *given: Any) -> list[Ended]:
    """Let several processes do a piece of work to the end."""
    return ended(start(work, count, folder, *given), folder)


def ended(several: Sequence[Any], folder: Path) -> list[Ended]:
    """Wait for processes that were started; one that hangs is killed and has the code -9."""
    for one in several:
        one.join(WAIT_S)
        one.kill()
        one.join()
    texts = [[(folder / f"{name}-{number}").read_text() for name in ("err", "out")] for number in range(len(several))]
    return [Ended(one.exitcode, *both) for one, both in zip(several, texts, strict=True)]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _one(number: int, count: int, port: int, folder: Path, work: Callable[..., Any], given: Sequence[Any]) -> None:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, HF_HUB_OFFLINE="1")
    for name, handle in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / f"{name}-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
    sys.exit(work(*given))


# What they do


def command(*arguments: str) -> int:
    """A command of the command line."""
    from selfportrait import cli

    return cli.main(arguments)


def talk() -> None:
    """Everything that processes say to each other, as one result of each."""
    import torch

    from selfportrait import console, processes

    with processes.together():
        number = processes.index()
        order: list[int] = []
        processes.by_main(lambda: order.append(processes.count()))
        numbers = torch.tensor([1.0, number])
        processes.add_up(numbers)
        said = processes.gather({"number": number})
        sys.stdout.write(f"{said} {order} {numbers.tolist()}\n")
        console.say("to people")
        console.echo("a result")


def fail(how: str, who: int) -> int:
    """Fail in one of the processes, which the others are told or find out."""
    import typer

    from selfportrait import console, processes

    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def work() -> None:
        with console.resumable(), processes.together(console.sentence):
            processes.wait()
            if processes.index() == who:
                if how == "killed":
                    os._exit(9)
                raise {"wrong": ValueError, "broken": RuntimeError, "stopped": KeyboardInterrupt}[how](f"{how} {who}")
            processes.wait()

    return console.run(app, ["--"])


def train(folder: Path, is_broken: bool, settings: dict[str, Any]) -> None:
    """Train the smallest token model on random pairs; a broken loss is not finite in process 1, the second time."""
    import torch

    from selfportrait import processes
    from selfportrait.losses.dpo import dpo
    from selfportrait.stages import Pairs, Schedule, train_on_pairs
    from selfportrait.training.optimizer import Optimizer

    one = runpy.run_path(str(ROOT / "stages" / "test_pair_training.py"))
    generator = torch.Generator().manual_seed(1)
    sides = [torch.randint(one["VOCABULARY"], (one["PAIRS"], one["TOKENS"]), generator=generator) for _ in range(2)]
    calls = 0

    def loss(policy: Any, reference: Any) -> Any:
        nonlocal calls
        calls += 1
        output = dpo(policy, reference)
        is_now = is_broken and processes.index() == 1 and calls == 2
        return output._replace(loss=output.loss * torch.nan) if is_now else output

    with processes.together():
        schedule = Schedule(**{"steps": None, "epochs": 2, "batch_size": 4, "checkpoint_every": 1, **settings})
        pairs = Pairs([f"prompt {row}" for row in range(one["PAIRS"])], *sides)
        optimizer = Optimizer(learning_rate=0.1, epsilon=0.01)
        train_on_pairs(one["Unigram"](), pairs, loss, optimizer, folder, schedule, 3)
