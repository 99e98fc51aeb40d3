"""A component's settings: what a config or a command line gives, checked against the component's signature.

Read this to learn why a setting was refused. The keyword-only parameters of a signature are the settings there are; a
setting may be a component itself, marked with `components.Part`, or several of them by name.
"""

import copy
import functools
import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import pydantic

from selfportrait import components

__all__ = [
    "bind",
    "check",
    "check_call",
    "hints",
    "kind",
    "put",
    "require_no_policy",
    "run_time",
    "settings_of",
    "within",
]

_WEIGHT = Annotated[float, pydantic.Field(gt=0)]
_FINITE = Annotated[float, pydantic.Field(allow_inf_nan=False)]


Values = dict[str, Any]
"""What a component is called with, and beside it the same as JSON has it, with every default."""


def bind(key: str, name: str | None, component: Callable[..., Any], given: Mapping[str, Any]) -> tuple[Values, Values]:
    """Check what is given, at `key` of a config, for the component of that name; returns values, and those as JSON.

    A component that is a setting of another one is built, which loads no weights. Raises ValueError for an unknown or
    missing setting, and for a value that does not fit.
    """
    parameters, hints_of = settings_of(component), hints(component)
    given = _nested(given, parameters, hints_of)
    owner = key if name is None or key.endswith(f".{name}") else f"{key} {name}"
    _check_known(key, owner, given, parameters)
    values, resolved = {}, {}
    for setting, parameter in parameters.items():
        if setting not in given and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"{key}.{setting} is missing: {owner} needs it")
        hint, own = hints_of[setting], f"{key}.{setting}"
        if (part := components.part(hint)) is not None:
            values[setting], resolved[setting] = _bind_part(own, part, given.get(setting))
        elif _held(hint) in _BINDERS and setting in given:
            values[setting], resolved[setting] = _BINDERS[_held(hint)](own, given[setting])
        else:
            values[setting] = check(own, hint, given[setting]) if setting in given else parameter.default
            resolved[setting] = _adapter(hint).dump_python(values[setting], mode="json")
    return values, resolved


# Sections


def put(section: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set `a.b.c` in a section, in place; a new `name` drops the settings beside it, which were another component's.

    A component that was named by a text alone becomes a section with that name. Raises ValueError below anything else.
    """
    for depth, key in enumerate(keys[:-1], start=1):
        inner = section.get(key) if key == "name" else _section(section.get(key))
        if not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(keys)} cannot be set: {'.'.join(keys[:depth])} is {kind(inner)}")
        section[key] = section = inner
    if len(keys) > 1 and keys[-1] == "name" and section.get("name") not in (None, value):
        section.clear()
    section[keys[-1]] = value


def _section(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else {} if value is None else value


def _nested(
    given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter], hints_of: Mapping[str, Any]
) -> dict[str, Any]:
    """Put `detector.path`, as a command line gives it, into the section that the setting `detector` is.

    A section that names no component is about the one that the setting has by default.
    """
    nested: dict[str, Any] = {}
    for key in sorted(given, key=lambda key: (key.count("."), not key.endswith(".name"))):  # sections and names first
        setting, *inside = key.split(".")
        value = copy.deepcopy(given[key])  # it is the caller's
        if setting not in parameters or not _holds_section(hints_of[setting]):
            nested[key] = value
            continue
        default = parameters[setting].default
        default = None if default is inspect.Parameter.empty else copy.deepcopy(default)
        if inside:
            nested.setdefault(setting, default)
            put(nested, [setting, *inside], value)
        else:
            nested[setting] = _over(default, value)
    return nested


def _over(default: Any, given: Any) -> Any:
    whole = _section(default)
    is_part = isinstance(given, dict) and "name" not in given and isinstance(whole, dict) and "name" in whole
    return {**whole, **given} if is_part else given


def _holds_section(hint: Any) -> bool:
    is_named = dict[str, Any] in (hint, *typing.get_args(hint))
    return is_named or components.part(hint) is not None or _held(hint) in _BINDERS


# Components in settings


def _bind_part(key: str, part: components.Part, given: Any) -> tuple[Any, dict[str, Any]]:
    """Build a component that another one takes as a setting, from its section; it loads no weights yet."""
    own = _section(given)
    if not isinstance(own, dict):
        raise ValueError(
            f"{key} = {given!r}: should be a section of settings, such as {key}.name={part.default or '...'}"
        )
    name = own.pop("name", part.default)
    if name is None:
        raise ValueError(f"{key}.name is missing: one of {', '.join(components.names(part.slot))}")
    if not isinstance(name, str):
        raise ValueError(f"{key}.name = {name!r}: should be text, one of {', '.join(components.names(part.slot))}")
    component = components.find(part.slot, name)
    require_no_policy(key, name, component)
    values, resolved = bind(key, name, component, own)
    return component(**values), {"name": name, **resolved}


def within(component: Callable[..., Any], resolved: Mapping[str, Any]) -> Iterator[Callable[..., Any]]:
    """The component and those that are its settings, at any depth, by its settings as they were resolved."""
    yield component
    for setting, hint in hints(component).items():
        own = resolved.get(setting)
        if (part := components.part(hint)) is not None and own is not None:
            yield from within(components.find(part.slot, own["name"]), own)
        elif (slot := _SLOTS.get(_held(hint) or "")) is not None:
            for name, inner in (own or {}).items():
                yield from within(components.find(slot, inner.get("name", name)), inner)


def require_no_policy(key: str, name: str, component: Callable[..., Any]) -> None:
    """Refuse a component that waits for the model in training where there is none to hand to it."""
    if run_time(component):
        raise ValueError(f"{key}: {name} waits for the model in training, and here is none to hand to it")


def _check_known(key: str, owner: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for setting in given:
        if setting not in known:
            end = components.nearest(setting, known) if known else "it has no settings"
            raise ValueError(f"Unknown setting {key}.{setting} of {owner}: {end}")


def _held(hint: Any) -> str | None:
    """What a setting of type dict[str, X] takes by name, each with settings and a weight: a Term or a Member."""
    return typing.get_args(hint)[1].__name__ if typing.get_origin(hint) is dict else None


def _bind_terms(key: str, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from selfportrait.losses.base import PairLoss, Term  # here, so that listing configs does not wait for torch

    if not isinstance(given, dict) or not given:
        raise ValueError(f"{key} = {given!r}: should be losses by name, such as {key}.sft.weight=2")
    values, resolved = {}, {}
    for name, settings in given.items():
        term, component = f"{key}.{name}", components.find("losses", name)
        check_call(term, "losses", name, PairLoss)
        if settings is not None and not isinstance(settings, dict):
            raise ValueError(f"{term} = {settings!r}: should be a section of settings, such as {term}.weight=2")
        own = dict(settings or {})
        _check_known(term, term, own, ["weight", *settings_of(component)])
        weight = check(f"{term}.weight", _WEIGHT, own.pop("weight", 1.0))
        bound, shown = bind(term, name, component, own)
        values[name] = Term(functools.partial(component, **bound), weight)
        resolved[name] = {"weight": weight, **shown}
    return values, resolved


def _bind_members(key: str, given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from selfportrait.judges._members import Member  # here, so that listing configs does not wait for torch

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
        require_no_policy(part, name, component)
        _check_known(part, part, own, ["name", *_SCALES, *settings_of(component)])
        bound, shown = bind(part, name, component, own)
        values[label] = Member(component(**bound), **scale)
        resolved[label] = {"name": name, **{key: getattr(values[label], key) for key in _SCALES}, **shown}
    return values, resolved


def check_call(key: str, slot: str, name: str, protocol: Any) -> None:
    """Refuse a function that takes other parameters at run time than whoever calls it has to give, by the protocol."""
    expected = [parameter for parameter in _parameters(protocol.__call__) if parameter != "self"]
    takes = list(run_time(components.find(slot, name)))
    if takes != expected:
        others = {other: list(run_time(components.find(slot, other))) for other in components.names(slot)}
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
    "Member": _bind_members,
}
_SLOTS = {"Term": "losses", "Member": "judges"}


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


def settings_of(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that are settings."""
    return {name: p for name, p in _parameters(component).items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def run_time(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that are handed over when everything is built, such as the model in training."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: p for name, p in _parameters(component).items() if p.kind in positional}


def hints(component: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a component's parameters, with their marks and ranges."""
    return typing.get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)


def _parameters(component: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(component).parameters


def kind(value: Any) -> str:
    """What a value of a config is, in words."""
    kinds = {dict: "a section", list: "a list", str: "text", type(None): "nothing"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "something else")
