"""How names are compared on a disk: whether upper and lower case, or how an accent is written, count there."""

import os
import secrets
import unicodedata
from collections.abc import Callable
from pathlib import Path


def fold(name: str) -> str:
    """Return what all spellings that a disk may take for one name have in common: case, accents, invisible signs."""
    if name.isascii():  # nearly all are, and folders can be large
        return name.lower()
    decomposed = unicodedata.normalize("NFD", name).casefold()
    visible = "".join(letter for letter in decomposed if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", visible)


def one_spelling(folder: Path, name: str) -> str:
    """Return the one name for all spellings of `name` that are the same file in a folder, which need not exist."""
    if _other_accents(name) != name and _ignores(folder, name, _other_accents):
        name = unicodedata.normalize("NFC", name)
    return fold(name) if name.swapcase() != name and _ignores(folder, name, str.swapcase) else name


def _other_accents(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    return unicodedata.normalize("NFD", name) if composed == name else composed


def _ignores(folder: Path, name: str, respell: Callable[[str], str]) -> bool:
    """Ask the disk whether two spellings are one file in a folder: folders of one disk, even, differ in that."""
    while not os.path.lexists(folder) and folder.parent != folder:
        folder = folder.parent  # what is made in it will be like it
    if os.path.lexists(folder / name):
        return _is_unlisted(folder, name) or _is_unlisted(folder, respell(name))
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if respell(entry.name) != entry.name:
                    return _is_unlisted(folder, respell(entry.name))
        probe = folder / f".framencc-{secrets.token_hex(4)}-\u00e9"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            return _is_unlisted(folder, respell(probe.name))
        finally:
            probe.unlink()
    except (OSError, UnicodeError):  # nothing can be written there anyway
        return False


def _is_unlisted(folder: Path, name: str) -> bool:
    """Whether a name leads to an entry that its folder lists by another one; numbers of files do not always tell."""
    try:
        return os.path.lexists(folder / name) and name not in os.listdir(folder)  # noqa: PTH208
    except OSError:  # it lets nobody list it
        return False
