"""Configs: YAML and key=value in, checked settings and built components out.

Read this to learn why a setting was refused: every section is checked against the signature of the component it
names before any weight loads, and the keyword-only parameters of that signature are the settings there are.
"""

import copy
import functools
import importlib.metadata
import inspect
import json
import os
import platform
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic

from selfportrait import __version__, components, processes, strict_yaml

__all__ = ["SECTIONS", "Config", "Section", "bind", "bind_section", "check", "header", "load", "names"]

SECTIONS = {
    "recipe": "recipes",
    "model": "models",
    "prompts": "prompts",
    "preferences": "preferences",
    "perturbation": "perturbations",
    "densification": "densifications",
    "questions": "questions",
    "judge": "judges",
    "planner": "planners",
    "detector": "detectors",
    "instance_judge": "instance_judges",
    "vlm": "vlms",
    "selection": "selection",
    "draw": "draws",
    "weights": "weights",
    "loss": "losses",
    "optimizer": "training",  # not a slot: there is one optimizer, and its section has no name
    "benchmark": "benchmarks",
}
_CONFIGS = Path(__file__).parent / "configs"
_SEED = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
_WEIGHT = Annotated[float, pydantic.Field(gt=0)]
_FINITE = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_PACKAGES = ("torch", "diffusers", "transformers", "peft")


# Reading


def names() -> list[str]:
    """Return the names of the configs that come with the package."""
    return sorted(path.stem for path in _CONFIGS.glob("*.yaml"))


def header(path_or_name: str) -> str:
    """Return the comment a config opens with, without its hash signs: what it is, its command, time and numbers."""
    lines = []
    for line in _text(_path(path_or_name)).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines)


def load(path_or_name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a config by the name of one that comes with the package or by its path, with overrides such as `a.b=1e-5`.

    An override that changes a section's `name` drops that section's other settings: they belonged to another component.
    """
    path = _path(path_or_name)
    settings = strict_yaml.parse(_text(path), str(path))
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds {_kind(settings)}, expected sections such as `model: {{name: sd3}}`")
    changes = [_split(override) for override in overrides]
    for keys, value in sorted(changes, key=lambda change: change[0][-1] != "name"):
        _change(settings, keys, value)
    return settings


def _path(path_or_name: str) -> Path:
    packaged = _CONFIGS / f"{path_or_name}.yaml"
    if path_or_name in names():
        return packaged
    path = Path(path_or_name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise FileNotFoundError(f"The config {path_or_name} is not a file: give the path of a YAML file, or a name")
    raise ValueError(f"Unknown config {path_or_name!r}: {components.nearest(path_or_name, names())}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _split(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"The override {override!r} cannot be read: expected key=value, such as loss.guard=0.1")
    return keys, strict_yaml.parse(text, f"The value of the override {override!r}")


def _change(settings: dict[str, Any], keys: list[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1], start=1):
        section = {} if settings.get(key) is None else settings[key]
        if not isinstance(section, dict):
            raise ValueError(f"{'.'.join(keys)} cannot be set: {'.'.join(keys[:depth])} is {_kind(section)}")
        settings[key] = section
        settings = section
    if len(keys) > 1 and keys[-1] == "name" and settings.get("name") not in (None, value):
        settings.clear()
    settings[keys[-1]] = value


# Checking


@dataclass(frozen=True)
class Section:
    """One component and all its settings, checked, with defaults filled in."""

    key: str
    component: Callable[..., Any]
    settings: dict[str, Any]
    resolved: dict[str, Any]

    @property
    def takes_policy(self) -> bool:
        """Whether the component can be built only where there is a model to hand to it."""
        return "policy" in _run_time_parameters(self.component) and inspect.isclass(self.component)

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not their component's default, as JSON has them."""
        return {
            setting: self.resolved[setting]
            for setting, parameter in _settings(self.component).items()
            if self.settings[setting] != parameter.default
        }

    def build(self) -> Any:
        """Call a builder with its settings; bind the settings of a function that a recipe calls at run time."""
        if _run_time_parameters(self.component):
            return functools.partial(self.component, **self.settings)
        return self.component(**self.settings)


@dataclass(frozen=True)
class Config:
    """A whole run, checked: `config.recipe(run=run, **config.build())` starts it."""

    seed: int
    sections: dict[str, Section]

    @property
    def recipe(self) -> Callable[..., Any]:
        """The recipe with its settings bound; its positional parameters are what `build` returns, and the run."""
        section = self.sections["recipe"]
        return functools.partial(section.component, **section.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by section, as JSON has it."""
        return {"seed": self.seed, **{key: section.resolved for key, section in self.sections.items()}}

    def build(self) -> dict[str, Any]:
        """Build every component the recipe takes, by the name of its parameter; with the seed where it takes that."""
        built = {key: section.build() for key, section in self.sections.items() if key != "recipe"}
        takes_seed = "seed" in _run_time_parameters(self.sections["recipe"].component)
        return {**built, "seed": self.seed} if takes_seed else built

    def resolved(self) -> dict[str, Any]:
        """Return what config.json holds: settings, versions of packages and hardware; nothing that reads the clock."""
        return {"settings": self.settings, "versions": _versions(), "hardware": _hardware()}


def bind(settings: Mapping[str, Any]) -> Config:
    """Check every section against the signature of its component.

    Raises ValueError for an unknown or missing section, component or setting, and for a value that does not fit.
    """
    for key in settings:
        if key not in SECTIONS and key != "seed":
            raise ValueError(f"Unknown section {key!r}: {components.nearest(key, [*SECTIONS, 'seed'])}")
    present = {key: value for key, value in settings.items() if key != "seed" and value is not None}
    if "recipe" not in present:
        raise ValueError(f"The section recipe is missing: expected recipe.name, {_choices('recipe')}")
    recipe = bind_section("recipe", present.pop("recipe"))
    _check_sections(recipe, present)
    sections = {key: bind_section(key, present[key]) for key in SECTIONS if key in present}
    _check_calls(recipe, sections)
    seed = check("seed", _SEED, settings.get("seed", 0))
    return Config(seed=seed, sections={"recipe": recipe, **sections})


def bind_section(key: str, settings: Any) -> Section:
    """Check one section, such as `judge` with `{"name": "ocr", "enlarge": 4}`, against the component it names."""
    if not isinstance(settings, dict):
        hint = "" if key == "optimizer" else f", such as {key}.name=..."
        raise ValueError(f"{key} = {settings!r}: should be a section of settings{hint}")
    given = dict(settings)
    name = None if key == "optimizer" else _component_name(key, given)
    component = _optimizer() if name is None else components.find(SECTIONS[key], name)
    values, resolved = _bind_settings(key, name, component, given)
    return Section(key, component, values, resolved if name is None else {"name": name, **resolved})


def _component_name(key: str, given: dict[str, Any]) -> str:
    name = given.pop("name", None)
    if name is None:
        raise ValueError(f"{key}.name is missing: {_choices(key)}")
    if not isinstance(name, str):
        raise ValueError(f"{key}.name = {name!r}: should be text, {_choices(key)}")
    return name


def _choices(key: str) -> str:
    return f"one of {', '.join(components.names(SECTIONS[key]))}"


def _optimizer() -> Callable[..., Any]:
    module = importlib.import_module("selfportrait.training.optimizer")
    optimizer: Callable[..., Any] = module.Optimizer
    return optimizer


def _check_sections(recipe: Section, present: Mapping[str, Any]) -> None:
    name = recipe.resolved["name"]
    parameters = _run_time_parameters(recipe.component)
    takes = [key for key in parameters if key not in ("run", "seed")]
    assert set(takes) <= set(SECTIONS), f"recipe {name} takes {takes}, which are not all sections"
    for key in present:
        if key not in takes:
            raise ValueError(f"The recipe {name} takes no section {key}: remove it; it takes {', '.join(takes)}")
    for key in takes:
        if key not in present and parameters[key].default is inspect.Parameter.empty:
            hint = "" if key == "optimizer" else f": expected {key}.name, {_choices(key)}"
            raise ValueError(f"The section {key} is missing, the recipe {name} needs it{hint}")


def _check_calls(recipe: Section, sections: Mapping[str, Section]) -> None:
    hints = typing.get_type_hints(_signature_owner(recipe.component))
    for key, section in sections.items():
        is_function = inspect.isfunction(section.component)
        if is_function and inspect.isclass(hints[key]) and "__call__" in vars(hints[key]):
            _check_call(f"{key}.name", SECTIONS[key], section.resolved["name"], hints[key])


def _bind_settings(
    key: str, name: str | None, component: Callable[..., Any], given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    parameters = _settings(component)
    hints = typing.get_type_hints(_signature_owner(component), include_extras=True)
    parts = {setting: found for setting in parameters if (found := components.part(hints[setting])) is not None}
    given = _nested(given, parts, [setting for setting in parameters if _held(hints[setting]) in _BINDERS])
    owner = key if name is None or key.endswith(f".{name}") else f"{key} {name}"
    _check_known(key, owner, given, parameters)
    values, resolved = {}, {}
    for setting, parameter in parameters.items():
        if setting not in given and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"{key}.{setting} is missing: {owner} needs it")
        hint = hints[setting]
        if setting in parts:
            values[setting], resolved[setting] = _bind_part(f"{key}.{setting}", parts[setting], given.get(setting))
            continue
        if _held(hint) in _BINDERS and setting in given:
            values[setting], resolved[setting] = _BINDERS[_held(hint)](f"{key}.{setting}", given[setting])
            continue
        values[setting] = check(f"{key}.{setting}", hint, given[setting]) if setting in given else parameter.default
        resolved[setting] = _adapter(hint).dump_python(values[setting], mode="json")
    return values, resolved


def _nested(given: Mapping[str, Any], parts: Collection[str], named: Collection[str]) -> dict[str, Any]:
    """Put `detector.path`, as a command line gives it, into the section that the setting `detector` is.

    `parts` are settings that are a component, of which a name alone says which, `named` those with components by name.
    """
    flat: dict[str, Any] = {}
    for key in sorted(given, key=lambda key: (key.count("."), not key.endswith(".name"))):  # sections and names first
        setting, *inside = key.split(".")
        value = given[key]
        if inside and (setting in parts or setting in named):
            flat[setting] = copy.deepcopy(flat.get(setting))  # it is the caller's
            _change(flat, [setting, *inside], value)
        else:
            flat[key] = {"name": value} if key in parts and isinstance(value, str) else value
    return flat


def _bind_part(key: str, part: components.Part, given: Any) -> tuple[Any, dict[str, Any]]:
    """Build a component that another one takes as a setting, from its section; it loads no weights yet."""
    if not isinstance(given, dict | None):
        raise ValueError(f"{key} = {given!r}: should be a section of settings, such as {key}.name={part.default}")
    own = dict(given or {})
    name = own.pop("name", part.default)
    if not isinstance(name, str):
        raise ValueError(f"{key}.name = {name!r}: should be text, one of {', '.join(components.names(part.slot))}")
    component = components.find(part.slot, name)
    values, resolved = _bind_settings(key, name, component, own)
    return component(**values), {"name": name, **resolved}


def _check_known(key: str, owner: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for setting in given:
        if setting not in known:
            end = components.nearest(setting, known) if known else "it has no settings"
            raise ValueError(f"Unknown setting {key}.{setting} of {owner}: {end}")


def _held(hint: Any) -> str | None:
    """What a setting of type dict[str, X] takes by name, each with settings and a weight, such as a Term or a Part."""
    return typing.get_args(hint)[1].__name__ if typing.get_origin(hint) is dict else None


def _bind_terms(key: str, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from selfportrait.losses.base import PairLoss, Term  # here, so that listing configs does not wait for torch

    if not isinstance(given, dict) or not given:
        raise ValueError(f"{key} = {given!r}: should be losses by name, such as {key}.sft.weight=2")
    values, resolved = {}, {}
    for name, settings in given.items():
        term, component = f"{key}.{name}", components.find("losses", name)
        _check_call(term, "losses", name, PairLoss)
        if settings is not None and not isinstance(settings, dict):
            raise ValueError(f"{term} = {settings!r}: should be a section of settings, such as {term}.weight=2")
        own = dict(settings or {})
        _check_known(term, term, own, ["weight", *_settings(component)])
        weight = check(f"{term}.weight", _WEIGHT, own.pop("weight", 1.0))
        bound, shown = _bind_settings(term, name, component, own)
        values[name] = Term(functools.partial(component, **bound), weight)
        resolved[name] = {"weight": weight, **shown}
    return values, resolved


def _bind_parts(key: str, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from selfportrait.judges._parts import Part  # here, so that listing configs does not wait for torch

    if not isinstance(given, dict) or not given:
        raise ValueError(f"{key} = {given!r}: should be judges by name, such as {key}.clip_score.weight=2")
    values, resolved = {}, {}
    for label, settings in given.items():
        part = f"{key}.{label}"
        if settings is not None and not isinstance(settings, dict):
            raise ValueError(f"{part} = {settings!r}: should be a section of settings, such as {part}.weight=2")
        own = dict(settings or {})
        name = check(f"{part}.name", str, own.pop("name", label))
        scale = {key: check(f"{part}.{key}", hint, own.pop(key)) for key, hint in _SCALES.items() if key in own}
        if ("mean" in scale) != ("std" in scale):
            raise ValueError(f"{part}: z-scores need both mean and std; leave both out for raw scores")
        component = components.find("judges", name)
        if _run_time_parameters(component):
            raise ValueError(f"{part}: the judge {name} waits for the model in training and cannot be a part")
        _check_known(part, part, own, ["name", *_SCALES, *_settings(component)])
        bound, shown = _bind_settings(part, name, component, own)
        values[label] = Part(component(**bound), **scale)
        resolved[label] = {"name": name, **{key: getattr(values[label], key) for key in _SCALES}, **shown}
    return values, resolved


def _check_call(key: str, slot: str, name: str, protocol: Any) -> None:
    """Refuse a function that takes other parameters at run time than whoever calls it has to give, by the protocol."""
    expected = [parameter for parameter in _parameters(protocol.__call__) if parameter != "self"]
    takes = list(_run_time_parameters(components.find(slot, name)))
    if takes != expected:
        others = {other: list(_run_time_parameters(components.find(slot, other))) for other in components.names(slot)}
        fitting = ", ".join(other for other, parameters in others.items() if parameters == expected)
        raise ValueError(
            f"{key} = {name!r}: should be one of {fitting}; it takes {', '.join(takes)} and would here get "
            f"{', '.join(expected)}"
        )


def check(key: str, hint: Any, value: Any) -> Any:
    """Return a JSON-able value as its type hint has it; raises ValueError, naming the key, where it does not fit."""
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)  # JSON: a list is a tuple, text a path
    except pydantic.ValidationError as error:
        problems = " or ".join(dict.fromkeys(_sentence(detail) for detail in error.errors()))
        raise ValueError(f"{key} = {json.dumps(value, ensure_ascii=False)}: should be {problems}") from error


_SCALES: dict[str, Any] = {"weight": _FINITE, "mean": _FINITE, "std": _WEIGHT}
_BINDERS: dict[str | None, Callable[[str, Any], tuple[dict[str, Any], dict[str, Any]]]] = {
    "Term": _bind_terms,
    "Part": _bind_parts,
}


def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(hint, config=pydantic.ConfigDict(allow_inf_nan=False))


_SENTENCES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "none_required": "null",
    "greater_than_equal": "at least {ge}",
    "greater_than": "greater than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "tuple_type": "a list",
    "list_type": "a list",
    "missing": "a longer list, with something",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "text of at least {min_length} characters",
}


def _sentence(detail: Any) -> str:
    expected = _SENTENCES.get(detail["type"], f"valid ({detail['msg']})").format(**detail.get("ctx", {}))
    return expected + "".join(f" at [{part}]" for part in detail["loc"] if isinstance(part, int))


# Signatures


def _parameters(component: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(component).parameters


def _settings(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in _parameters(component).items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _run_time_parameters(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: p for name, p in _parameters(component).items() if p.kind in positional}


def _signature_owner(component: Callable[..., Any]) -> Any:
    return component.__init__ if inspect.isclass(component) else component


def _kind(value: Any) -> str:
    kinds = {dict: "a section", list: "a list", str: "text", type(None): "nothing"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "something else")


# Where it ran


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"selfportrait": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _hardware() -> dict[str, Any]:
    import torch  # here, so that listing components and configs does not wait for it

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "gpus": gpus,
        "processes": processes.count(),
    }
