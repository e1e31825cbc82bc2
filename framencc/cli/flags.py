"""Command-line flags made from the spec: every option of a job is a flag, described by its own field."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from cyclopts import Parameter, Token
from pydantic.fields import FieldInfo

from framencc.spec import RunSpec, Verification, leaf_fields, verification_of_switch

SHORTCUTS = {"ncc.radius": "--radius", "warp.method": "--warp", "scores.path": "--scores"}
POSITIONAL = ("input", "output")
_BOUNDS: tuple[tuple[type, str, str], ...] = ((Ge, "ge", ">="), (Gt, "gt", ">"), (Le, "le", "<="), (Lt, "lt", "<"))


def with_spec_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one parameter for each option of a job.

    The command gets those that were given, nested as in a config file, as its first argument.
    """
    own = list(inspect.signature(function).parameters.values())[1:]
    names = {name.replace(".", "__"): name for name, _ in leaf_fields(RunSpec)}

    def command(*arguments: Any, **named: Any) -> Any:
        values = signature.bind(*arguments, **named).arguments
        given = {names[key]: value for key, value in values.items() if key in names and value is not None}
        others = {key: value for key, value in values.items() if key not in names}
        return function(_nested(given), **others)

    parameters = [*(_parameter(name, field) for name, field in leaf_fields(RunSpec)), *own]
    signature = inspect.Signature(sorted(parameters, key=lambda parameter: parameter.kind))
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    return command


def spell_out(words: Sequence[str]) -> list[str]:
    """Give every ``--verify`` its value: the flag was a switch, and still is one where no value follows it."""
    switches = {
        "--no-verify": f"--verify={verification_of_switch(False)}",
        "--verify=false": f"--verify={verification_of_switch(False)}",
        "--verify=true": f"--verify={verification_of_switch(True)}",
    }
    spelled: list[str] = []
    for place, word in enumerate(words):
        if word == "--":
            return [*spelled, *words[place:]]
        is_alone = word == "--verify" and (place + 1 == len(words) or words[place + 1] not in get_args(Verification))
        spelled.append(switches["--verify=true"] if is_alone else switches.get(word, word))
    return spelled


def range_text(field: FieldInfo) -> str:
    """Say a numeric field's limits, as in ``>= 1, <= 127``; empty where it has none."""
    parts = [
        f"{sign} {getattr(constraint, attribute):.10g}"
        for kind, attribute, sign in _BOUNDS
        for constraint in field.metadata
        if isinstance(constraint, kind)
    ]
    return ", ".join(parts)


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    positional = name in POSITIONAL
    flag = "--" + name.replace("_", "-")
    # The full name first: cyclopts stops at the first name that begins like the word, and --warp.method begins --warp.
    flags = [flag, SHORTCUTS[name]] if name in SHORTCUTS else [flag]
    hints = [text for text in (range_text(field), _default_text(field)) if text]
    help_text = (field.description or "") + (f" ({'; '.join(hints)})" if hints else "")
    section = name.split(".", maxsplit=1)[0] if "." in name else "job"
    group = "Arguments" if positional else f"Options: {section}"
    settings: dict[str, Any] = {"name": flags, "help": help_text, "show_default": False, "group": group}
    kinds = _plain_types(_flag_type(field))
    if int in kinds:
        settings |= {"converter": _whole_number_or_text if str in kinds else _whole_number}
    elif float in kinds:
        settings |= {"converter": _number}
    return inspect.Parameter(
        name.replace(".", "__"),
        inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_flag_type(field) | None, Parameter(**settings)],
    )


def _plain_types(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of, without their extras."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _plain_types(parts[0])
    return {kind for part in parts for kind in _plain_types(part)} or {annotation}


def _whole_number(annotation: Any, tokens: Sequence[Token]) -> int:
    """Read an integer; cyclopts itself would round 3.5 without a word."""
    value = _whole_number_or_text(annotation, tokens)
    if isinstance(value, str):
        raise ValueError(f"a whole number is expected, not {value!r}")
    return value


def _whole_number_or_text(annotation: Any, tokens: Sequence[Token]) -> int | str:  # noqa: ARG001  (cyclopts' signature)
    text = tokens[0].value
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else text


def _number(annotation: Any, tokens: Sequence[Token]) -> float:  # noqa: ARG001  (cyclopts' signature)
    """Read a float; cyclopts itself would take "none" for a flag that was not given."""
    try:
        return float(tokens[0].value)
    except ValueError:
        raise ValueError(f"a number is expected, not {tokens[0].value!r}") from None


def _flag_type(field: FieldInfo) -> Any:
    """Return the type the command line converts a word to; a list is one word, as in 2,3,5, which the spec reads."""
    lists = any(get_origin(part) in (tuple, list) for part in get_args(field.annotation))
    return str if lists else field.annotation


def _default_text(field: FieldInfo) -> str:
    if field.is_required() or field.default is None or isinstance(field.default, bool):
        return ""
    return f"default: {field.default}"


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, leaf = name.split(".")
        inside = nested
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[leaf] = value
    return nested
