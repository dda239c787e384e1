"""Plain values and text as frozen dataclasses of annotated fields: what a file or a command line says becomes a value
of the field's type, or an error that names the field."""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import yaml

from mintad.errors import ConfigError, nearest


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def require_one_of(value: Any, options: Iterable[Any], what: str) -> None:
    """Refuse a value that is none of the options, and name the nearest, which takes a while to find."""
    if value not in options:
        raise ConfigError(what + nearest(str(value), options))


def check_fields(part: Any, prefix: str) -> None:
    """What holds for every part: numbers are finite, and a choice is one of its options."""
    for name, hint in typing.get_type_hints(type(part)).items():
        value = getattr(part, name)
        if typing.get_origin(hint) is Literal:
            options = typing.get_args(hint)
            require_one_of(value, options, f"{prefix}.{name} = {value!r} is not allowed.")
        finite = not isinstance(value, float) or math.isfinite(value)
        require(finite, f"{prefix}.{name} must be a finite number, not {value}")


def build(kind: type, values: Any, prefix: str) -> Any:
    """A dataclass, and those inside it, from nested mappings; `prefix` is what its keys are called by in errors."""
    require(isinstance(values, Mapping), f"'{prefix or 'configuration'}' must be a mapping of keys to values")
    hints = typing.get_type_hints(kind)
    for key in values:
        require_one_of(key, hints, f"unknown configuration key '{prefix}{key}'.")
    arguments = {}
    for key, value in values.items():
        hint = hints[key]
        nested = dataclasses.is_dataclass(hint)
        arguments[key] = build(hint, value, f"{prefix}{key}.") if nested else _convert(hint, value, prefix + key)
    return kind(**arguments)


def parse(hint: Any, text: str, key: str) -> Any:
    """A value written as text. The type decides how it is read: names stay as they are written ('01' is not 1, 'no'
    not false), lists are ``a, b`` or ``[a, b]``, everything else is YAML."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    text = text.strip()
    if origin is tuple:
        items = _yaml(text, key, yaml.BaseLoader) if text.startswith("[") else text.split(",") if text else []
        items = [item.strip() if isinstance(item, str) else item for item in items]
        return [parse(options[0], item, key) if isinstance(item, str) else item for item in items]
    require(text != "", f"{key} must not be empty")
    if origin in (typing.Union, types.UnionType):
        kind = next(option for option in options if option is not type(None))
        return None if text in ("null", "~") else parse(kind, text, key)
    return text if hint is str or origin is Literal else _yaml(text, key, yaml.SafeLoader)


def _yaml(text: str, key: str, loader: type) -> Any:
    try:
        return yaml.load(text, loader)  # a safe loader in every case: BaseLoader or SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        problem = " ".join(str(error).split())
        raise ConfigError(f"{key} = {text!r} cannot be read: {problem}") from error


def _convert(hint: Any, value: Any, key: str) -> Any:
    """`value` as the annotated type: lossless conversions only (1 -> 1.0, list -> tuple, '1e-4' -> 0.0001)."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(option for option in options if option is not type(None)), value, key)
    if origin is Literal:
        value = {False: "no"}.get(value, value) if isinstance(value, bool) else value  # YAML reads a bare `no` as false
        require_one_of(value, options, f"{key} = {value!r} is not allowed.")
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), f"{key} must be a list, not {value!r}")
        return tuple(_convert(options[0], item, key) for item in value)
    if origin is dict:
        require(isinstance(value, Mapping), f"{key} must be a mapping, not {value!r}")
        return dict(value)
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text (in quotes)"}[hint]
    try:
        if hint is float and not isinstance(value, bool):
            return float(value)
        if hint is str and isinstance(value, os.PathLike):
            return os.fspath(value)
        if hint is int and isinstance(value, float) and value.is_integer():
            return int(value)
    except (TypeError, ValueError):
        pass
    good = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    require(good, f"{key} must be {wanted}, not {value!r}")
    return value
