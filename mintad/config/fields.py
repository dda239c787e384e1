"""Sections of the configuration: dataclasses that check their fields and say in one line what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import yaml
from annotated_types import Ge, Le, MinLen
from pydantic import BeforeValidator, ConfigDict, Strict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from mintad.config.yaml_text import Loader
from mintad.errors import ConfigError, nearest, shown

T = TypeVar("T")
_RULES = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def section(name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, keyword-only dataclass whose fields are checked, with one-line errors.

    Its keys begin with `name`, for example "model.inr" ("model.options" for a variant's own). A method `_check`
    compares fields with each other.
    """

    def build(cls: type[T], values: Any, validate: Callable[[Any], T]) -> T:
        try:
            built = validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error.errors()[0], cls, name)) from None
        getattr(built, "_check", lambda: None)()
        return built

    def decorate(cls: type[T]) -> type[T]:
        cls.build = model_validator(mode="wrap")(classmethod(build))
        return dataclass(frozen=True, kw_only=True, config=_RULES)(cls)

    return decorate


def require(condition: bool, message: str) -> None:
    """Raise a ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def read_yaml(value: Any, loader: type = Loader) -> Any:
    """Read text as YAML; text that is no YAML stays as it is, and so does what is not text."""
    with contextlib.suppress(yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        return yaml.load(value, loader) if isinstance(value, str) else value
    return value


def _read_number(value: Any) -> Any:
    value = read_yaml(value)
    if isinstance(value, bool):  # Python would take true for 1
        raise ValueError
    return value


def _read_list(value: Any) -> Any:
    """Read ``a, b`` or ``[a, b]``; names stay as they are written: '01' is not 1, 'no' not false."""
    if not isinstance(value, str) or value.startswith("["):
        return read_yaml(value, yaml.BaseLoader)
    return [item.strip() for item in value.split(",")] if value else []


Bool = Annotated[bool, Strict(), BeforeValidator(read_yaml)]
Int = Annotated[int, BeforeValidator(_read_number)]
Float = Annotated[float, BeforeValidator(_read_number)]
Count = Annotated[Int, Ge(1)]
Size = Annotated[Int, Ge(1), Le(2**14)]
"""Of something that memory grows with."""
Depth = Annotated[Int, Ge(1), Le(64)]
"""Of something that is built again and again."""
Text = Annotated[str, MinLen(1)]
PathText = Annotated[Text, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path)]
List = Annotated[tuple[T, ...], BeforeValidator(_read_list)]
Nullable = Annotated[T | None, BeforeValidator(lambda value: None if value in ("null", "~") else value)]


def limits(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    """Say what a value of a field must be, for example "a whole number >= 1, or null"."""
    kind, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if kind is Annotated:
        return limits(parts[0], parts[1:])
    if kind in (typing.Union, types.UnionType):
        return f"{limits(parts[0])}, or null"
    if kind is Literal:
        return " or ".join(parts)
    if kind is tuple:
        return f"a list, each item {limits(parts[0])}"
    pairs = itertools.product(bounds, _BOUNDS.items())
    texts = [f"{sign} {getattr(bound, name)}" for bound, (name, sign) in pairs if hasattr(bound, name)]
    return f"{_NAMES[kind or annotation]} {' and '.join(texts)}".rstrip()


def _explain(problem: Mapping[str, Any], cls: type, section: str) -> str:
    """Return the error message for a problem that pydantic found in a section."""
    value, fields = problem["input"], cls.__pydantic_fields__
    if not problem["loc"]:
        return f"{section} must be a mapping, not {shown(value)}"
    name = str(problem["loc"][0])
    key = f"{section}.{name}".lstrip(".")
    if name not in fields:
        return f"unknown configuration key '{key}'." + nearest(name, fields)
    if problem["loc"][-1] == "[key]":
        return f"a key of {key} must be text, not {shown(value)}"
    if problem["type"] == "literal_error":
        return f"{key} = {shown(value)} is not allowed." + nearest(str(value), typing.get_args(fields[name].annotation))
    return f"{key} must be {limits(fields[name].annotation, fields[name].metadata)}, not {shown(value)}"
