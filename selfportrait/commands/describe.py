"""Components and configs in words: settings with types, ranges and defaults off a signature, a config's header.

Read this when `selfportrait components SLOT NAME` or `selfportrait recipes` says something wrong.
"""

import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Union

from selfportrait import components

__all__ = ["Header", "Setting", "docstring", "header", "settings", "words"]

_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "null"}
_FIELD = re.compile(r"(?P<name>command|hardware|time|result|expected|verified)\s*:\s*(?P<value>.*)", re.IGNORECASE)
_LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


class Setting(NamedTuple):
    """One setting; `default` is None where a config has to give a value."""

    name: str
    type: str
    default: str | None

    @property
    def said(self) -> str:
        """Type and default in one phrase."""
        return f"{self.type}; {'has no default' if self.default is None else f'default {self.default}'}"


class Header(NamedTuple):
    """The comment a config opens with: what it is, and fields such as command, hardware, time, result."""

    title: str
    fields: dict[str, str]


def header(text: str) -> Header:
    """Part a header into its first lines and its `field: ...` lines, which may go on over the next ones."""
    title: list[str] = []
    fields: dict[str, str] = {}
    field = None
    for line in text.splitlines():
        found = _FIELD.match(line)
        if found:
            field = found["name"].lower()
            fields[field] = found["value"]
        elif field is None:
            title.append(line)
        else:
            fields[field] = f"{fields[field]} {line}".strip()
    return Header(" ".join(title).strip(), fields)


def docstring(component: Callable[..., Any]) -> str:
    """What a component says of itself."""
    return inspect.getdoc(component) or ""


def settings(component: Callable[..., Any]) -> list[Setting]:
    """The keyword-only parameters of a component, in their order."""
    parameters = inspect.signature(component).parameters.values()
    hints = typing.get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)
    return [
        Setting(parameter.name, words(hints[parameter.name]), _default(parameter, hints[parameter.name]))
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def words(hint: Any) -> str:
    """Say a type hint: `Annotated[int, Field(ge=2)] | None` is "integer, at least 2, or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if part := components.part(hint):
        return f"one of {', '.join(components.names(part.slot))}, or a section with its name and settings"
    if origin is Annotated:
        return ", ".join([words(arguments[0]), *_limits(arguments[1:])])
    if origin in (Union, types.UnionType):
        options = ["a section {name: ..., ...}" if a == dict[str, Any] else words(a) for a in arguments]
        return (", or " if any("," in option for option in options) else " or ").join(options)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is dict:
        kind = "losses" if arguments[1].__name__ == "Term" else "judges"
        return f"{kind} by name, each with its settings and a weight"
    if origin in (tuple, list):
        return f"list of {', '.join('any number' if argument is ... else words(argument) for argument in arguments)}"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)).lower())


def _limits(metadata: tuple[Any, ...]) -> list[str]:
    """The ranges in the metadata of an Annotated type; pydantic's Field keeps a list of them."""
    limits = [limit for item in metadata for limit in getattr(item, "metadata", [item])]
    return [
        f"{said} {getattr(limit, name):g}" for limit in limits for name, said in _LIMITS.items() if hasattr(limit, name)
    ]


def _default(parameter: inspect.Parameter, hint: Any) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    if part := components.part(hint):
        return json.dumps(part.default)
    return json.dumps(parameter.default, default=str, ensure_ascii=False)
