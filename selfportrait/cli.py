"""The commands. Each one reads its input, calls what does the work, and shows the result.

Heavy packages are imported inside the commands that need them, so that `--help` and the lists answer at once.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from selfportrait import __version__, components, config, console, processes
from selfportrait.cli_pairs import preference_pairs
from selfportrait.cli_stage import stage
from selfportrait.commands import describe, pairs
from selfportrait.options import AsJson, ConfigName, Model, Overrides, RunFolder, Seed, Settings, example

__all__ = ["app", "main"]

app = typer.Typer(
    name="selfportrait",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Start with: [bold]selfportrait recipes[/]. {console.TRACEBACK}=1 shows where an error comes from.",
)
micro = typer.Typer(rich_markup_mode="rich", help="The embedded micro world: look at it, or train its model again.")
app.add_typer(micro, name="micro")
app.add_typer(stage, name="stage")
app.add_typer(preference_pairs, name="pairs")


SHARED_OUT = (None, "improve", "stage")  # what several processes can work on; None is the help


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for a failed check, 2 for bad input, 130 for Ctrl-C."""
    return console.run(app, sys.argv[1:] if arguments is None else arguments)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """A text-to-image model improves itself: it draws, judges what it drew, and trains on the verdicts."""
    if version:
        console.echo(f"selfportrait {__version__}")
        raise typer.Exit
    if context.invoked_subcommand not in SHARED_OUT:
        processes.require_one(f"selfportrait {context.invoked_subcommand}")


@app.command(
    epilog=example(
        "improve gpo-micro-counting --run runs/mine",
        "improve gpo-micro-counting recipe.group_size=8 optimizer.learning_rate=5e-6 --run runs/other",
        "improve my.yaml seed=1",
        "improve ospo-janus-pro-7b --dry-run",
    )
)
def improve(
    name: ConfigName,
    overrides: Overrides = None,
    run: RunFolder = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Build everything but the weights; show sizes, plan and memory; write nothing."),
    ] = False,
) -> None:
    """Improve a model: measure it, let it train on its own pictures, measure it again, write a report.

    A run that was stopped, in whatever way, goes on where it stopped with the same command.
    """
    with console.resumable(), processes.together(console.sentence):
        settings = config.load(name, overrides or [])
        folder = run or Path("runs") / Path(name).stem
        console.silence_libraries()
        checked = config.bind(settings)
        if dry_run:
            from selfportrait.commands import dry_run as planned

            planned.show(checked, name)
            return
        from selfportrait.commands import improve as command

        command.run(checked, folder)
        processes.by_main(lambda: command.show_result(folder))


@app.command(epilog=example("recipes"))
def recipes() -> None:
    """List the configs that come with the package: what each reproduces, on what hardware, in what time."""
    for name in config.names():
        header = describe.header(config.header(name))
        console.echo(typer.style(name, bold=True))
        console.echo(f"  {header.title}")
        for field in ("hardware", "time", "result", "command"):
            console.echo(f"  {field + ':':<10}{header.fields.get(field, '-')}")


@app.command("components", epilog=example("components", "components judges", "components judges ocr"))
def list_components(
    slot: Annotated[str | None, typer.Argument(metavar="SLOT", help="One of the slots, or `optimizer`.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of its components.")] = None,
) -> None:
    """List the slots of a config, the components that fit into one, or the settings of one component."""
    if slot is None:
        _echo_pairs([(slot, ", ".join(components.names(slot)) or "-") for slot in components.SLOTS])
    elif slot == "optimizer":
        _echo_component(config.bind_section("optimizer", {}).component)
    elif name is None:
        slot = config.SECTIONS.get(slot, slot)  # `judge`, the section, does for `judges`, the slot
        _echo_pairs([(found, components.summary(slot, found)) for found in components.names(slot)])
    else:
        console.silence_libraries()
        _echo_component(components.find(config.SECTIONS.get(slot, slot), name))


def _echo_component(component: Callable[..., Any]) -> None:
    console.echo(describe.docstring(component))
    settings = describe.settings(component)
    console.echo("\nsettings:" if settings else "\nno settings")
    _echo_pairs([(f"  {item.name}", item.said) for item in settings])


def _echo_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """One pair a line, never wrapped, so that scripts can read the first word."""
    width = max((len(first) for first, _ in pairs), default=0)
    for first, second in pairs:
        console.echo(f"{first:<{width}}  {second}")


@app.command(
    epilog=example(
        'sample micro-sd3 "three red circles" "a blue star" --out pictures',
        "sample runs/demo --prompts prompts.txt --count 8 --out pictures",
        'sample stabilityai/stable-diffusion-3.5-medium "a sign that reads \\"OPEN\\"" --steps 28 --set dtype=bfloat16',
    )
)
def sample(
    model: Model,
    texts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="What to draw.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More prompts: .txt (one a line), .jsonl, .csv or .parquet.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")] = Path("pictures"),
    count: Annotated[int, typer.Option(min=1, help="Pictures a prompt.")] = 4,
    seed: Seed = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps; by default the model's.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale, 1 is off; by default the model's.")] = None,
    settings: Settings = None,
) -> None:
    """Draw pictures: PNG files, a metadata.jsonl as `datasets` reads it, and all of them in grid.png."""
    console.silence_libraries()
    from selfportrait.commands import imagefolder, loading
    from selfportrait.commands import sample as command

    chosen = {"num_inference_steps": steps, "guidance_scale": guidance}
    overrides = {**{key: value for key, value in chosen.items() if value is not None}, **pairs.parse(settings or [])}
    wanted = command.read_prompts(texts or [], prompts)
    imagefolder.check_empty(out)
    source = loading.resolve(model, overrides)
    command.draw(source.load(), wanted, out, count=count, seed=seed)
    console.echo(f"{len(wanted) * count} pictures in {out}, all of them in {out / 'grid.png'}")


@app.command(
    epilog=example(
        "judge --judge micro_count pictures",
        'judge --judge ocr --set score=edit --prompt "the word \\"cat\\"" one.png two.png',
        "judge --judge micro_questions pictures --json",
        "judge --judge pick_score --set batch_size=64 pictures",
    )
)
def judge(
    pictures: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Picture files, or folders with a metadata.jsonl.")
    ],
    name: Annotated[str, typer.Option("--judge", metavar="NAME", help="A name from `selfportrait components judges`.")],
    prompt: Annotated[str | None, typer.Option(help="The prompt of every picture, instead of metadata.jsonl.")] = None,
    settings: Settings = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where scores are kept; by default ~/.cache/selfportrait/scores."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Judge every picture again and keep nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score pictures with a judge; a picture that it cannot judge is missing, with the reason.

    A score is kept, and not asked for again as long as picture, prompt, settings and weights are the same.
    """
    console.silence_libraries()
    section = config.bind_section("judge", {"name": name, **pairs.parse(settings or [])})
    if section.takes_policy:
        raise ValueError(f"The judge {name} is the model itself, and here is none: name it in a config instead")
    from selfportrait.commands import judge as command
    from selfportrait.score_cache import ScoreCache

    folder = None if no_cache else cache or ScoreCache.default_folder()
    with console.resumable():
        verdicts = command.judge(section, pictures, prompt, folder)
    if as_json:
        console.echo(command.as_json(verdicts))
    else:
        console.show(command.score_table(verdicts))


@app.command(
    epilog=example(
        "evaluate micro-sd3",
        "evaluate runs/demo --run runs/demo-check --json",
        "evaluate micro-sd3 --set prompts_per_category=20 --set model.guidance_scale=3",
        "evaluate stabilityai/stable-diffusion-3.5-medium --benchmark geneval,dpg_bench --run runs/sd3.5 "
        "--set benchmark.geneval.path=geneval/prompts --set benchmark.dpg_bench.path=ELLA/dpg_bench",
        "evaluate --images runs/sd3.5/geneval --benchmark geneval --set path=geneval/prompts --set detector=owlv2",
    )
)
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A folder, a hub id, an embedded name such as micro-sd3, or the folder of a run; none with --images.",
        ),
    ] = None,
    benchmark: Annotated[
        str, typer.Option(help="Names from `selfportrait components benchmarks`, with commas between them.")
    ] = "micro",
    settings: Settings = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The benchmark's own seed; by default its default.")] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the pictures and verdicts here, and go on there if stopped."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge pictures that are there: an earlier evaluation, or their own layout."),
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write the pictures as the benchmark's official scorer wants them."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: numbers by category with 95 % intervals, and who judged.

    --set takes settings of the benchmark, with `benchmark.NAME.` in front where there are several, and with `model.`
    in front those of the model.
    """
    console.silence_libraries()
    from selfportrait.commands import evaluate as command
    from selfportrait.commands import given_pictures, loading

    own, of_model = pairs.split(pairs.parse(settings or []), "model")
    wanted = command.sections([name.strip() for name in benchmark.split(",")], own, seed)
    if (model is None) == (images is None):
        raise ValueError("Say what to measure: a MODEL, or --images and a folder of pictures, and not both")
    built = command.build(wanted)
    if layout is not None:
        given_pictures.check_layouts(built)
    source = given_pictures.Given(images) if model is None and images else loading.resolve(str(model), of_model)
    with ExitStack() as stack:
        folder = run or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if run is not None:
            stack.enter_context(console.resumable())
        result = command.evaluate_all(source, wanted, built, folder)
        if layout is not None:
            given_pictures.write_layouts(built, folder, layout)
    is_own = len(result) == 1 and not any("categories" in one for one in result.values())
    if as_json:
        console.echo(json.dumps(next(iter(result.values())) if is_own else result, indent=2))
        return
    for name, one in result.items():
        console.show(command.measured_table(name, one) if "categories" in one else command.accuracy_table(one))
    if run is not None:
        from selfportrait.report import write_report

        console.echo(f"report  {write_report(folder)}")


@app.command(
    epilog=example(
        "compare dpo-micro kto-micro --seeds 0,1,2 --run runs/losses",
        "compare dpo-micro inpo-micro --set recipe.evaluate_every=10 --target 2",
        "compare runs/dpo runs/kto --json",
        "compare runs/sd3.5 runs/sd3.5-gpo",
    )
)
def compare(
    items: Annotated[
        list[str], typer.Argument(metavar="CONFIG|RUN...", help="Configs to run, or folders of runs or evaluations.")
    ],
    seeds: Annotated[str, typer.Option(metavar="N,N", help="Each config runs with each of them.")] = "0",
    run: Annotated[Path, typer.Option(metavar="DIR", help="The runs of configs go below it.")] = Path("runs/compare"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of every config, as section.key=value."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="For steps to a target: a gain over step 0, in points or a score's unit; by default half of the best.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run several configs on the same pairs, budget and seeds, or take runs as they are, and print one table.

    What runs have in common, such as pairs and latents, is made once. The same command goes on where it was stopped.
    Where the recipe measured during training, a second table says after how many steps each came to a target.
    Folders of `selfportrait evaluate` are compared with the first of them, by benchmark and category, prompt by prompt.
    """
    console.silence_libraries()
    from selfportrait.commands import compare as command
    from selfportrait.commands import compare_evaluations as evaluated

    if evaluated.are_evaluations(items):
        if target is not None:
            raise ValueError(f"--target {target:g}: evaluations have no steps; give configs or runs")
        contrasts = evaluated.compare(items)
        if as_json:
            console.echo(json.dumps(evaluated.as_json(contrasts), indent=2))
            return
        for table in evaluated.tables(contrasts):
            console.show(table)
        return
    with console.resumable():
        found = command.compare(items, settings or [], command.numbers(seeds), run, target)
    if as_json:
        console.echo(json.dumps(command.as_json(found), indent=2))
        return
    console.show(command.table(found))
    if second := command.target_table(found, is_given=target is not None):
        console.show(second)
    elif any(one.curves for one in found):
        console.echo("no line gained on its held-out prompts, so there is no target; --target POINTS names one")


@app.command(epilog=example("scores runs/demo/round-0/scores", "scores runs/demo/round-0/scores --json"))
def scores(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A folder of part-*.parquet, such as a run's scores.")],
    as_json: AsJson = False,
) -> None:
    """Sum up a table of scores by judge: how many, how many missing, mean, spread and range."""
    from selfportrait.commands import scores as command

    totals = command.summarise(table)
    if as_json:
        console.echo(json.dumps({judge: one._asdict() for judge, one in totals.items()}, indent=2))
    else:
        console.show(command.table(totals))


@app.command(epilog=example("report runs/demo"))
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not, or of an evaluation.")
    ],
) -> None:
    """Write the report of a run or an evaluation again: one HTML file that opens from disk."""
    from selfportrait.report import write_report

    console.echo(str(write_report(run)))


@app.command(epilog=example("doctor"))
def doctor() -> None:
    """Say what is installed and check in a few seconds that it works; the exit code is 1 where it does not."""
    console.silence_libraries()
    from selfportrait import doctor as surgery

    if not surgery.examine(console.echo):
        raise typer.Exit(1)


@micro.command(epilog=example("micro build sd3", "micro build janus --out my-token-model --device cuda"))
def build(
    name: Annotated[str, typer.Argument(metavar="{sd,sd3,sd3-text,janus}", help="Which model.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="By default runs/micro- and the name.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Updates of the transformer; by default the shipped model's.")
    ] = None,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
) -> None:
    """Train an embedded model from nothing: up to three hours on two cores, minutes on a GPU.

    It goes on where it was stopped.
    """
    console.silence_libraries()
    from selfportrait.micro import build as building

    with console.resumable():
        folder = building.build(name, out or Path("runs") / f"micro-{name}", steps=steps, seed=seed, device=device)
    console.echo(f"model   {folder}")


@micro.command(epilog=example("micro examine micro-janus", "micro examine runs/ospo-micro --count 200 --json"))
def examine(
    model: Model,
    count: Annotated[int, typer.Option(min=1, help="Pictures a category, and texts a task.")] = 100,
    seed: Seed = 0,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Say how well a unified model sees, answers and writes in the micro world; `evaluate` says how well it draws.

    Answers are to questions of held-out prompts about pictures that the model drew for them.
    """
    console.silence_libraries()
    from selfportrait.commands import examine as command
    from selfportrait.commands import loading

    found = command.examine(loading.resolve(model, pairs.parse(settings or [])).load(), count=count, seed=seed)
    if as_json:
        console.echo(json.dumps(found, indent=2))
    else:
        console.show(command.table(found))


@micro.command(epilog=example("micro show", "micro show --category numeracy --count 16 --out numeracy.png"))
def show(
    category: Annotated[str | None, typer.Option(help="One category; by default each in turn.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 12,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the pictures go, as one PNG.")] = Path("micro.png"),
) -> None:
    """Draw scenes of the micro world: one picture with all of them, prompts and questions in the terminal."""
    from selfportrait.commands import show as command

    shown = command.draw_prompts(category, count, seed)
    command.write_sheet(shown, out, seed)
    for number, prompt in enumerate(shown, start=1):
        console.echo(f"{number:>3}  {prompt.text}  [{prompt.category}]")
        for question in prompt.questions:
            console.echo(f"       {question.text}  {'yes' if question.answer else 'no'}")
    console.echo(f"pictures, in this order row by row: {out}")
