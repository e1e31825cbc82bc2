"""From what a user wrote to a checked spec: config files, nested options, and one line for whatever is wrong."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from framencc.errors import SourceError, SpecError
from framencc.lookup import read_file
from framencc.spec import PATH_FIELDS, RunSpec, leaf_fields
from framencc.spec.ncc import NccSpec


def make_spec(values: Mapping[str, Any]) -> RunSpec:
    """Check nested option values and build the spec.

    Raises
    ------
    SpecError
        One line that names the first wrong option and what it may be.
    """
    try:
        return RunSpec.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError(_explain(error, RunSpec)[1]) from None


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
        raise SpecError(_explain(error, NccSpec)[1]) from None


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
    path, overrides = Path(path), overrides or {}
    what = f"config {str(path)!r}"
    try:
        # Some editors of Windows begin a file with a byte order mark.
        values = tomllib.loads(read_file(path, what).decode("utf-8-sig"))
    except SourceError as error:
        raise SpecError(str(error)) from None
    except ValueError as error:  # of the syntax, the encoding, or a number of thousands of digits
        raise SpecError(f"{what} is not valid TOML: {error}") from None
    for name in PATH_FIELDS:
        *sections, leaf = name.split(".")
        inside: Any = values
        for section in sections:
            inside = inside.get(section, {}) if isinstance(inside, dict) else {}
        if isinstance(inside, dict) and isinstance(inside.get(leaf), str) and inside[leaf]:
            inside[leaf] = str(path.parent / inside[leaf])
    try:
        return RunSpec.model_validate(_merge(values, overrides))
    except ValidationError as error:
        name, message = _explain(error, RunSpec)
        found = _lookup(overrides, name)
        if found is not None and not isinstance(found, Mapping):
            raise SpecError(message) from None  # the file has no part in it
        # Two options that do not go together may come from either side.
        both = " and what was given with it" if overrides and (not name or isinstance(found, Mapping)) else ""
        raise SpecError(f"{what}{both}: {message}") from None


def _lookup(values: Mapping[str, Any], name: str) -> Any:
    """Find a dotted name among nested values; None where it is not."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in top.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Return the name of the first wrong option or section (empty where it is the whole) and one line about it."""
    problems = error.errors(include_url=False)
    # A misspelt `input` is both unknown and missing; the first says more.
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    leaves = [name for name, _ in leaf_fields(model)]
    known = {*leaves, *(name.split(".")[0] for name in leaves)}
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return ".".join(parts), _unknown_option(".".join(parts), leaves)
    # The branches of a union follow the option's name; they mean nothing to a user.
    while parts and ".".join(parts) not in known:
        parts.pop()
    name = ".".join(parts)
    if first["type"] == "missing":
        return name, f"{name} is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = str(first["input"]) if isinstance(first["input"], Path) else first["input"]
    said = isinstance(given, (BaseModel, dict)) or repr(given) in message or f"not {given}" in message
    return name, (f"{name}: " if name else "") + message + ("" if said else f" (got {given!r})")


def _unknown_option(name: str, known: list[str]) -> str:
    tails = {known_name.rsplit(".", 1)[-1]: known_name for known_name in known}
    tail = name.rsplit(".", 1)[-1]
    close = [tails[tail]] if tail in tails else difflib.get_close_matches(name, known, n=1)
    close = close or [tails[near] for near in difflib.get_close_matches(tail, list(tails), n=1)]
    return f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
