"""From what a user wrote to a checked spec: config files, nested options, and one line for whatever is wrong."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from framencc.errors import SpecError
from framencc.spec import PATH_FIELDS, NccSpec, RunSpec, leaf_fields


def make_spec(values: Mapping[str, Any], *, where: str = "") -> RunSpec:
    """Check nested option values and build the spec.

    Raises
    ------
    SpecError
        One line that names the first wrong option, `where` it stands, and what it may be.
    """
    try:
        return RunSpec.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError(where + _explain(error, RunSpec)) from None


def make_ncc_spec(**values: Any) -> NccSpec:
    """Check the options of the correlation alone.

    Raises
    ------
    SpecError
        One line that names the first wrong option and what it may be.
    """
    try:
        return NccSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(_explain(error, NccSpec)) from None


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunSpec:
    """Load a TOML config file.

    Parameters
    ----------
    path
        The file. Relative paths inside it are relative to its folder.
    overrides
        Nested option values that win over the file's.

    Returns
    -------
    RunSpec
        The checked spec, its paths joined with the file's folder.

    Raises
    ------
    SpecError
        When the file is missing, is no TOML, or holds an unknown key or a wrong value.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SpecError(f"config {str(path)!r} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"config {str(path)!r} is not valid TOML: {error}") from None
    for name in PATH_FIELDS:
        *sections, leaf = name.split(".")
        inside: Any = values
        for section in sections:
            inside = inside.get(section, {}) if isinstance(inside, dict) else {}
        if isinstance(inside, dict) and isinstance(inside.get(leaf), str) and inside[leaf]:
            inside[leaf] = str(path.parent / inside[leaf])
    return make_spec(_merge(values, overrides or {}), where=f"config {str(path)!r}: ")


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in top.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    problems = error.errors(include_url=False)
    # A misspelt `input` is both unknown and missing; the first says more.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    leaves = [name for name, _ in leaf_fields(model)]
    known = {*leaves, *(name.split(".")[0] for name in leaves)}
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return _unknown_option(".".join(parts), leaves)
    # The branches of a union follow the option's name; they mean nothing to a user.
    while parts and ".".join(parts) not in known:
        parts.pop()
    name = ".".join(parts)
    if first["type"] == "missing":
        return f"{name} is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = first["input"]
    shown = "" if isinstance(given, (BaseModel, dict)) or repr(given) in message else f" (got {given!r})"
    return (f"{name}: " if name else "") + message + shown


def _unknown_option(name: str, known: list[str]) -> str:
    tails = {known_name.rsplit(".", 1)[-1]: known_name for known_name in known}
    close = difflib.get_close_matches(name, known, n=1) or [
        tails[tail] for tail in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(tails), n=1)
    ]
    return f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
