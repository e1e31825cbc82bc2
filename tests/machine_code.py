"""Finds the innermost loops in x86-64 assembly, and says which of them are vector code.

Imports nothing of the package under test.
"""

import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm

_LABEL = re.compile(r'^"?([^\s":]+)"?:')
_INSTRUCTION = re.compile(r"^\s+([a-z][a-z0-9]*)(?:\s+(.*?))?\s*(?:#.*)?$")
_WIDE = re.compile(r"%[yz]mm\d")
_JUMP = re.compile(r"j[a-z]+")


@dataclass(frozen=True)
class Instruction:
    mnemonic: str
    operands: str

    @property
    def is_wide(self) -> bool:
        """Whether it works on vectors of 256 or 512 bits."""
        return _WIDE.search(self.operands) is not None


@dataclass(frozen=True)
class Loop:
    """An innermost loop: from the label that is jumped back to, to that jump."""

    function: str
    instructions: tuple[Instruction, ...]

    def has(self, pattern: str, *, wide: bool = True) -> bool:
        """Whether a mnemonic matches a pattern as a whole, by default one on wide vectors."""
        found = re.compile(pattern)
        return any(found.fullmatch(one.mnemonic) and (one.is_wide or not wide) for one in self.instructions)

    def __str__(self) -> str:
        wide = [one.mnemonic for one in self.instructions if one.is_wide]
        counts = {name: wide.count(name) for name in dict.fromkeys(wide)}
        listed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no wide vectors"
        return f"{self.function}, {len(self.instructions)} instructions: {listed}"


@dataclass(frozen=True)
class HotLoop:
    """What one loop of a kernel must consist of.

    Parameters
    ----------
    kernel
        Name of the function from the module on, as in ``integer_ncc.correlate_rows``; a pattern for the whole of it.
    what
        What the loop computes, for the message.
    has
        Patterns of mnemonics, each of which must occur in the same innermost loop, on wide vectors.
    lacks
        Patterns of mnemonics of which none may occur in that loop, whatever their operands.
    signature
        A pattern that is searched in the types of the arguments: which compiled variants are meant.
    feature
        What LLVM calls the extension without which the loop cannot be vector code (``avx512dq``); avx2 by default.
    """

    kernel: str
    what: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    signature: str = ""
    feature: str = "avx2"

    @property
    def is_expected(self) -> bool:
        """Whether this processor can run the loop as vector code."""
        return bool(llvm.get_host_cpu_features().get(self.feature, False))

    def found_in(self, loops: Sequence[Loop]) -> bool:
        return any(
            all(loop.has(pattern) for pattern in self.has)
            and not any(loop.has(pattern, wide=False) for pattern in self.lacks)
            for loop in loops
        )


def unknown_processor() -> str | None:
    """Name the processor if its machine code is not known here; None on x86-64 with AVX2."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"{platform.machine()} is not x86-64"
    if not llvm.get_host_cpu_features().get("avx2", False):
        return f"{llvm.get_host_cpu_name()} has no AVX2"
    return None


def innermost_loops(assembly: str) -> list[Loop]:
    """Return the loops that hold no other loop, in the order of their ends (AT&T syntax, as LLVM prints it)."""
    return [loop for function, lines in _functions(assembly) for loop in _loops(function, lines)]


def _functions(assembly: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", []
    for line in assembly.splitlines():
        label = _LABEL.match(line)
        if label and not label[1].startswith((".L", "L")):
            yield name, lines
            name, lines = readable(label[1]), []
        lines.append(line)
    yield name, lines


def _loops(function: str, lines: Sequence[str]) -> list[Loop]:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for line in lines:
        if label := _LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.match(line):
            one = Instruction(found[1], found[2] or "")
            instructions.append(one)
            if _JUMP.fullmatch(one.mnemonic) and one.operands in labels:
                spans.append((labels[one.operands], len(instructions)))
    inner = [
        (first, last)
        for first, last in spans
        if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in spans)
    ]
    return [Loop(function, tuple(instructions[first:last])) for first, last in inner]


def readable(symbol: str) -> str:
    """Return the names in a symbol of Numba's, such as _ZN11integer_ncc4sumsB2v1..., joined by dots."""
    rest = symbol.partition("_ZN")[2]
    names = []
    while number := re.match(r"\d+", rest):
        end = number.end() + int(number[0])
        names.append(rest[number.end() : end])
        rest = rest[end:]
    return ".".join(names) or symbol
