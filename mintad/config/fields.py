"""Sections of the configuration: dataclasses that check their fields and say in one line what is wrong."""

from __future__ import annotations

import functools
import os
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import yaml
from annotated_types import Ge
from pydantic import BeforeValidator, ConfigDict, Strict, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from mintad.errors import ConfigError, nearest

T = TypeVar("T")
_UNIONS = (typing.Union, types.UnionType)
_RULES = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def section(name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, keyword-only dataclass whose fields are checked, with one-line errors.

    Args:
        name: what the keys of the section begin with, for example "model.inr" ("model.options" for a variant's own).
    """

    def decorate(cls: type[T]) -> type[T]:
        checked = dataclass(frozen=True, kw_only=True, config=_RULES)(cls)
        construct = checked.__init__

        @functools.wraps(construct)
        def __init__(self: T, **values: Any) -> None:
            try:
                construct(self, **values)
            except ValidationError as error:
                raise ConfigError(explain(error.errors()[0], checked, name)) from None

        checked.__init__ = __init__
        return checked

    return decorate


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):  # Python would take true for 1
        raise ValueError
    return value


def require(condition: bool, message: str) -> None:
    """Raise a ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


Bool = Annotated[bool, Strict()]
Int = Annotated[int, BeforeValidator(_refuse_bool)]
Float = Annotated[float, BeforeValidator(_refuse_bool)]
Count = Annotated[Int, Ge(1)]
"""A number of things."""
YamlNo = BeforeValidator(lambda value: "no" if value is False else value)
"""For fields that may be 'no', which YAML reads as false where it stands without quotes."""
PathText = Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)]
"""Text, also given as a path object."""


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without what `Annotated` adds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _kinds(parts[0])
    return [kind for part in parts for kind in _kinds(part)] if origin in _UNIONS else [annotation]


def limits(info: FieldInfo) -> str:
    """Say what a value of a field must be, for example "a whole number >= 1, or null"."""
    kind, *null = _kinds(info.annotation)
    options = typing.get_args(kind)
    origin = typing.get_origin(kind) or kind
    items = {str: "text", int: "whole numbers"}.get(_kinds(options[0])[0], "values") if options else ""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    names |= {Literal: " or ".join(map(str, options)), tuple: f"a list of {items}"}
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [(sign, getattr(bound, name, None)) for bound in info.metadata for name, sign in signs.items()]
    text = " and ".join(f"{sign} {value}" for sign, value in bounds if value is not None)
    return " ".join(filter(None, (names.get(origin, str(kind)), text))) + (", or null" if null else "")


def explain(problem: Mapping[str, Any], kind: type, key: str) -> str:
    """Return the error message for a problem that pydantic found in a section called `key`."""
    info, location = None, list(problem["loc"])
    while location and location[0] in (fields := getattr(kind, "__pydantic_fields__", {})):
        info, key = fields[location[0]], f"{key}.{location.pop(0)}".lstrip(".")
        kind = info.annotation
    value = problem["input"]
    if problem["type"] == "unexpected_keyword_argument":
        return f"unknown configuration key '{key}.{location[0]}'." + nearest(location[0], fields)
    if problem["type"] == "literal_error":
        return f"{key} = {value!r} is not allowed." + nearest(str(value), typing.get_args(kind))
    return f"{key} must be {limits(info)}, {'but holds' if location else 'not'} {value!r}"


def read_text(text: str, annotation: Any, key: str) -> Any:
    """Read a value that is written as text, as its type demands.

    Names stay as they are written ('01' is not 1, 'no' not false), lists are ``a, b`` or ``[a, b]``, everything else is
    YAML.

    Raises:
        ConfigError: the text is empty or no YAML; `key` is the name that the message gives.
    """
    text, kinds = text.strip(), _kinds(annotation)
    if typing.get_origin(kinds[0]) is tuple:
        items = _yaml(text, key, yaml.BaseLoader) if text.startswith("[") else text.split(",") if text else []
        items = [item.strip() if isinstance(item, str) else item for item in items]
        require("" not in items, f"an element of {key} must not be empty")
        return items
    require(text != "", f"{key} must not be empty")
    if type(None) in kinds and text in ("null", "~"):
        return None
    as_written = kinds[0] is str or typing.get_origin(kinds[0]) is Literal
    return text if as_written else _yaml(text, key, yaml.SafeLoader)


def _yaml(text: str, key: str, loader: type) -> Any:
    try:
        return yaml.load(text, loader)  # a safe loader in every case: BaseLoader or SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise ConfigError(f"{key} = {text!r} cannot be read: {' '.join(str(error).split())}") from error
