"""A stand-in for a disk that ignores case and how accents are written, at the file layer of this process.

Imports nothing of the package under test. It keeps the spelling under which a file was made, as such disks do. What
other processes do is not changed.
"""

import builtins
import contextlib
import io
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def folded(name: str) -> str:
    """Return what all spellings of a name have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


@contextlib.contextmanager
def blind_below(folder: Path, fold: Callable[[str], str] = folded) -> Iterator[None]:
    """Let names below a folder be found under every spelling inside a ``with`` block."""
    root = folder.absolute()
    changed = ("stat", "lstat", "open", "mkdir", "rmdir", "unlink", "listdir", "scandir")
    real = {name: getattr(os, name) for name in changed}
    real_replace, real_rename, real_open = os.replace, os.rename, io.open

    def found(path: Any) -> Any:
        """Spell a path as the disk has it, as far as it is there."""
        if isinstance(path, int):
            return path
        wanted = Path(os.path.normpath(Path(os.fsdecode(path)).absolute()))
        if root not in wanted.parents:
            return path
        place = str(root)
        for part in wanted.relative_to(root).parts:
            names: list[str] = []
            with contextlib.suppress(OSError):
                names = real["listdir"](place)
            same = (name for name in names if fold(name) == fold(part))
            place += os.sep + (part if part in names else next(same, part))
        return place

    def patched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **named: Any) -> Any:
            return function(path if named.get("dir_fd") is not None else found(path), *arguments, **named)

        return call

    def patched_pair(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda source, target, **named: function(found(source), found(target), **named)

    try:
        for name, function in real.items():
            setattr(os, name, patched(function))
        os.replace, os.rename = patched_pair(real_replace), patched_pair(real_rename)
        io.open = builtins.open = patched(real_open)  # type: ignore[assignment]
        # So that code which asks what a function can do gets the same answer.
        for supported in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            supported |= {getattr(os, name) for name, function in real.items() if function in supported}  # type: ignore[arg-type]
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)
        os.replace, os.rename = real_replace, real_rename
        io.open = builtins.open = real_open
