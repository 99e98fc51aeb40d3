"""Configs: what is read, what is refused with which sentence, and what is built."""

import functools
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field

from selfportrait import __version__, components, config
from selfportrait.losses.base import GroupLoss, PairLogps, needs_reference


class Model:
    def __init__(self, *, path: str, train: Literal["full", "lora"] = "lora", rank: int | None = None) -> None:
        self.path, self.train, self.rank = path, train, rank


def loss(
    policy: list[float], *, guard: Annotated[float, Field(ge=0)] | None = None
) -> tuple[list[float], float | None]:
    return policy, guard


class Optimizer:
    def __init__(
        self, *, learning_rate: Annotated[float, Field(gt=0)], betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.learning_rate, self.betas = learning_rate, betas


def group(
    model: Any,
    loss: Any,
    optimizer: Any,
    run: Any,
    seed: int,
    benchmark: Any = None,
    *,
    steps: int,
    group_size: Annotated[int, Field(ge=2)] = 16,
    resume: bool = True,
    title: str = "",
    where: Path = Path("x"),
) -> dict[str, Any]:
    return dict(locals())


@pytest.fixture(autouse=True)
def slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """One component a slot, whatever the package holds."""
    fakes: dict[tuple[str, str], Callable[..., Any]] = {
        ("models", "sd3"): Model,
        ("losses", "gpo"): loss,
        ("recipes", "group"): group,
        ("draws", "none"): lambda *, shift=3.0: shift,
    }
    find = components.find
    monkeypatch.setattr(components, "names", lambda slot: sorted(name for s, name in fakes if s == slot))
    monkeypatch.setattr(components, "find", lambda slot, name: fakes.get((slot, name)) or find(slot, name))
    monkeypatch.setattr(config, "_optimizer", lambda: Optimizer)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "recipe": {"name": "group", "steps": 3},
        "model": {"name": "sd3", "path": "micro-sd3"},
        "loss": {"name": "gpo"},
        "optimizer": {"learning_rate": 1e-5},
        **changes,
    }


def recipe(**changes: Any) -> dict[str, Any]:
    return settings(recipe={"name": "group", "steps": 3, **changes})


def refusal(given: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        config.bind(given)
    return str(caught.value)


# Reading


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(text: str | bytes) -> str:
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


Write = Callable[[str | bytes], str]


def test_reads_a_file_and_overrides_it(write: Write) -> None:
    path = write("# my run\nseed: 1\nloss: {name: gpo, guard: 0.1}\nmodel:\n  name: sd3\n")
    overrides = ["loss.guard=1e-5", "optimizer.betas=[0.9, 0.99]", "seed=7", "model.path=a=b", "recipe.title="]
    assert config.load(path, overrides) == {
        "seed": 7,
        "loss": {"name": "gpo", "guard": 1e-5},
        "model": {"name": "sd3", "path": "a=b"},
        "optimizer": {"betas": [0.9, 0.99]},
        "recipe": {"title": None},
    }
    assert config.header(path) == "my run"


def test_a_new_component_starts_its_section_afresh(write: Write) -> None:
    path = write("loss: {name: gpo, guard: 0.1}")
    assert config.load(path, ["loss.beta=2", "loss.name=dpo"]) == {"loss": {"name": "dpo", "beta": 2}}
    assert config.load(path, ["loss.name=gpo"]) == {"loss": {"name": "gpo", "guard": 0.1}}
    assert config.load(path, ["name=x"]) == {"loss": {"name": "gpo", "guard": 0.1}, "name": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-05", 1e-5),
        ("2E3", 2000.0),
        ("-3", -3),
        ("+.5", 0.5),
        ("1_000", 1000),
        ("-.inf", -math.inf),
        ("true", True),
        ("yes", "yes"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'1e-5'", "1e-5"),
        ("null", None),
        ("", None),
        ("e5", "e5"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: Any, write: Write) -> None:
    assert config.load(write("{}"), [f"a.b={text}"]) == {"a": {"b": value}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\na: 2\n", "duplicate key 'a'"),
        ("x: {b: 1, b: 1}", "duplicate key 'b'"),
        ("1: 2", "the key 1 is not text"),
        ("- a\n- b\n", "holds a list, expected sections"),
        ("just text", "holds text, expected sections"),
        ("", "holds nothing, expected sections"),
        ("a: &x {b: 1}\nc: *x\n", "aliases are not read"),
        ("a: &x [*x]", "aliases are not read"),
        ("a: [", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("a: !!binary aGk=", "cannot be read as YAML"),
        ("a: 1\n---\nb: 2\n", "cannot be read as YAML"),
        ("a: " + "[" * 5000, "cannot be read as YAML"),
        ("a: " + "9" * 5000, "cannot be read as YAML"),
        (b"a: \xff\xfe", "is not UTF-8 text"),
        ("a: \x00", "cannot be read as YAML"),
    ],
)
def test_refuses_what_is_no_config(text: str | bytes, sentence: str, write: Write) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        config.load(write(text))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["loss", "=1", "a..b=1", ".a=1", "a.=1", "a.b=[", "seed.x=1", "loss.name.x=1"])
def test_refuses_overrides_that_say_nothing(override: str, write: Write) -> None:
    with pytest.raises(ValueError, match=r"override|cannot be set"):
        config.load(write("seed: 1\nloss: {name: gpo}"), [override])


def test_names_come_from_the_package_or_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_CONFIGS", tmp_path)
    (tmp_path / "gpo-micro-counting.yaml").write_text("# Counting.\n#   selfportrait improve\n\n# more\nseed: 0\n")
    assert config.names() == ["gpo-micro-counting"]
    assert config.load("gpo-micro-counting") == {"seed": 0}
    assert config.header("gpo-micro-counting") == "Counting.\nselfportrait improve"
    with pytest.raises(ValueError, match="did you mean 'gpo-micro-counting'"):
        config.load("gpo-micro-conting")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        config.load("missing.yaml")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        config.load(str(tmp_path))


def test_a_byte_order_mark_is_no_part_of_the_first_key(write: Write) -> None:
    assert config.load(write(b"\xef\xbb\xbfseed: 3\r\n")) == {"seed": 3}


# Checking


def test_binds_defaults_and_builds() -> None:
    bound = config.bind(settings(seed=5, loss={"name": "gpo", "guard": 1}))
    assert bound.settings == {
        "seed": 5,
        "recipe": {"name": "group", "steps": 3, "group_size": 16, "resume": True, "title": "", "where": "x"},
        "model": {"name": "sd3", "path": "micro-sd3", "train": "lora", "rank": None},
        "loss": {"name": "gpo", "guard": 1.0},
        "optimizer": {"learning_rate": 1e-5, "betas": [0.9, 0.999]},
    }
    built = bound.build()
    assert built["model"].path == "micro-sd3"
    assert built["optimizer"].betas == (0.9, 0.999)
    assert isinstance(built["loss"], functools.partial)
    assert built["loss"].keywords == {"guard": 1.0}
    assert built["loss"]([1.0]) == ([1.0], 1.0)
    ran = bound.recipe(run="folder", **built)
    assert (ran["seed"], ran["run"], ran["steps"], ran["benchmark"], ran["where"]) == (5, "folder", 3, None, Path("x"))


def test_the_resolved_config_is_json_and_the_same_every_time() -> None:
    resolved = config.bind(settings()).resolved()
    assert json.loads(json.dumps(resolved, allow_nan=False)) == resolved
    assert resolved == config.bind(settings()).resolved()
    assert resolved["settings"]["seed"] == 0
    assert resolved["versions"]["selfportrait"] == __version__
    assert set(resolved["versions"]) == {"selfportrait", "python", "torch", "diffusers", "transformers", "peft"}


def test_a_section_without_a_recipe_binds_alone() -> None:
    assert config.bind_section("model", {"name": "sd3", "path": "x"}).build().path == "x"


def test_an_optional_section_may_be_null() -> None:
    assert "benchmark" not in config.bind(settings(benchmark=None)).sections


def test_a_list_fits_a_tuple_and_an_integer_fits_a_float() -> None:
    optimizer = config.bind(settings(optimizer={"learning_rate": 1, "betas": [0.5, 1]})).build()["optimizer"]
    assert (optimizer.learning_rate, optimizer.betas) == (1.0, (0.5, 1.0))
    assert isinstance(optimizer.learning_rate, float)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (recipe(group_size=1), "recipe.group_size = 1: should be at least 2"),
        (recipe(group_size="abc"), 'recipe.group_size = "abc": should be an integer'),
        (recipe(group_size=True), "recipe.group_size = true: should be an integer"),
        (recipe(group_size=3.7), "recipe.group_size = 3.7: should be an integer"),
        (recipe(group_size=4.0), "recipe.group_size = 4.0: should be an integer"),
        (recipe(group_size=None), "recipe.group_size = null: should be an integer"),
        (recipe(group_size=[2]), "recipe.group_size = [2]: should be an integer"),
        (recipe(resume="true"), 'recipe.resume = "true": should be true or false'),
        (recipe(resume=1), "recipe.resume = 1: should be true or false"),
        (recipe(title=3), "recipe.title = 3: should be text"),
        (recipe(steps=None), "recipe.steps = null: should be an integer"),
        (recipe(grup_size=4), "Unknown setting recipe.grup_size of recipe group: did you mean 'group_size'?"),
        (settings(recipe={"name": "group"}), "recipe.steps is missing: recipe group needs it"),
        (settings(recipe={"name": "grup"}), "Unknown component 'grup' in recipes: did you mean"),
        (settings(recipe={"steps": 3}), "recipe.name is missing: one of group"),
        (settings(recipe={"name": 3}), "recipe.name = 3: should be text, one of group"),
        (settings(recipe=None), "The section recipe is missing: expected recipe.name, one of group"),
        (settings(recipe="group"), "recipe = 'group': should be a section of settings, such as recipe.name=..."),
        (
            settings(model=None),
            "The section model is missing, the recipe group needs it: expected model.name, one of sd3",
        ),
        (settings(modl={}), "Unknown section 'modl': did you mean 'model'?"),
        (settings(draw={"name": "none"}), "The recipe group takes no section draw: remove it; it takes model, loss"),
        (settings(seed=-1), "seed = -1: should be at least 0"),
        (settings(seed="x"), 'seed = "x": should be an integer'),
        (settings(seed=2**63), f"seed = {2**63}: should be less than {2**63}"),
        (settings(loss={"name": "gpo", "guard": math.nan}), "loss.guard = NaN: should be a finite number"),
        (settings(loss={"name": "gpo", "guard": math.inf}), "loss.guard = Infinity: should be a finite number"),
        (settings(loss={"name": "gpo", "guard": True}), "loss.guard = true: should be a number"),
        (settings(loss={"name": "gpo", "guard": "0.1"}), 'loss.guard = "0.1": should be a number'),
        (settings(loss={"name": "gpo", "guard": -1}), "loss.guard = -1: should be at least 0"),
        (settings(optimizer={"learning_rate": -1.0}), "optimizer.learning_rate = -1.0: should be greater than 0"),
        (settings(optimizer={}), "optimizer.learning_rate is missing: optimizer needs it"),
        (settings(optimizer={"name": "adam"}), "Unknown setting optimizer.name of optimizer: expected one of betas"),
        (
            settings(optimizer={"learning_rate": 1.0, "betas": [0.9, math.nan]}),
            "optimizer.betas = [0.9, NaN]: should be a finite number at [1]",
        ),
        (
            settings(optimizer={"learning_rate": 1.0, "betas": [0.9]}),
            "optimizer.betas = [0.9]: should be a longer list, with something at [1]",
        ),
        (
            settings(model={"name": "sd3", "path": "x", "train": "lorra"}),
            "model.train = \"lorra\": should be 'full' or 'lora'",
        ),
    ],
)
def test_refuses_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    said = refusal(given)
    assert said.startswith(sentence)
    assert "\n" not in said


# Sums of losses


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of the package, beside the other fakes."""
    names, find = components.names, components.find
    real = sorted(path.stem for path in (Path(components.__file__).parent / "losses").glob("[a-z]*.py"))
    real.remove("base")
    monkeypatch.setattr(components, "names", lambda slot: real if slot == "losses" else names(slot))

    def find_loss(slot: str, name: str) -> Callable[..., Any]:
        if slot != "losses":
            return find(slot, name)
        if name not in real:
            raise ValueError(f"Unknown component {name!r} in losses: {components.nearest(name, real)}")
        module = importlib.import_module(f"selfportrait.losses.{name}")
        component: Callable[..., Any] = getattr(module, module.__all__[0])
        return component

    monkeypatch.setattr(components, "find", find_loss)


def terms(**given: Any) -> dict[str, Any]:
    return settings(loss={"name": "sum", "terms": given})


@pytest.mark.usefixtures("losses")
def test_a_sum_of_losses_is_a_config() -> None:
    bound = config.bind(terms(simpo={"beta": 4}, sft={"weight": 2}))
    simpo = {"weight": 1.0, "beta": 4.0, "gamma": 2.5, "label_smoothing": 0.0, "divide_by": "weight"}
    assert bound.settings["loss"] == {"name": "sum", "terms": {"simpo": simpo, "sft": {"weight": 2.0}}}
    built = bound.build()["loss"]
    assert {name: term.weight for name, term in built.keywords["terms"].items()} == {"simpo": 1.0, "sft": 2.0}
    assert built.keywords["terms"]["simpo"].loss.keywords["beta"] == 4.0
    one = torch.ones(1)
    assert built(PairLogps(-one, -2 * one, one, one), None).loss.shape == (1,)
    assert not needs_reference(built)
    assert needs_reference(config.bind(terms(dpo=None, sft=None)).build()["loss"])
    assert needs_reference(config.bind(terms(sum={"terms": {"dpo": {}}})).build()["loss"])


@pytest.mark.usefixtures("losses")
def test_a_sum_of_losses_is_overridden_by_name(write: Write) -> None:
    path = write("loss: {name: sum, terms: {simpo: {beta: 5}, sft: {weight: 2}}}")
    changed = config.load(path, ["loss.terms.sft.weight=1", "loss.terms.ipo.beta=0.1"])
    assert changed["loss"]["terms"] == {"simpo": {"beta": 5}, "sft": {"weight": 1}, "ipo": {"beta": 0.1}}


@pytest.mark.usefixtures("losses")
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"simpoo": {}}, "Unknown component 'simpoo' in losses: did you mean 'simpo'?"),
        ({"simpo": {"bta": 5}}, "Unknown setting loss.terms.simpo.bta of loss.terms.simpo: did you mean 'beta'?"),
        ({"sft": {"wieght": 5}}, "Unknown setting loss.terms.sft.wieght of loss.terms.sft: did you mean 'weight'?"),
        ({"simpo": {"beta": 0}}, "loss.terms.simpo.beta = 0: should be greater than 0"),
        ({"sft": {"weight": 0}}, "loss.terms.sft.weight = 0: should be greater than 0"),
        ({"sft": 2}, "loss.terms.sft = 2: should be a section of settings, such as loss.terms.sft.weight=2"),
        ({}, "loss.terms = {}: should be losses by name, such as loss.terms.sft.weight=2"),
        ({"gpo": {}}, "loss.terms.gpo = 'gpo': should be one of dpo, hinge, ipo, kto, sft, simpo, spo, sum; it takes "),
        ({"sum": {}}, "loss.terms.sum.terms is missing: loss.terms.sum needs it"),
    ],
)
def test_a_sum_of_losses_is_refused_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    assert refusal(terms(**given)).startswith(sentence)


@pytest.mark.usefixtures("losses")
def test_a_loss_that_the_recipe_cannot_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(group.__annotations__, "loss", GroupLoss)
    assert config.bind(settings(loss={"name": "group_dpo"})).build()["loss"]
    said = refusal(settings(loss={"name": "dpo"}))
    assert said == (
        "loss.name = 'dpo': should be one of gpo, group_dpo; it takes policy, reference and would here get policy, "
        "old, advantages"
    )
