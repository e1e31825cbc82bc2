"""The record beside an output, OUTPUT.json: what was asked, of what, by which versions, and every frame's numbers."""

import contextlib
import datetime
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from framencc.errors import SinkError, SourceError
from framencc.staging import Staged, sidecar_path

FORMAT_VERSION = 1
_ENDS_BYTES = 1 << 20
_OWN_KEYS = ("format_version", "frames")


class SidecarWriter:
    """Writes a sidecar frame by frame; it appears beside the output, whole, at `commit`.

    The rows wait in a nameless file on the output's disk, so that memory does not grow with the clip.

    Parameters
    ----------
    output
        The output that the sidecar describes.

    Raises
    ------
    SinkError
        When its folder cannot be made or written.
    """

    def __init__(self, output: str | Path) -> None:
        self._path = sidecar_path(output)
        self._state: Literal["open", "failed", "committed", "aborted"] = "open"
        self._lock = threading.RLock()
        self._n_rows = 0
        with self._explained():
            self._staged = Staged(self._path)
            try:
                self._rows = tempfile.TemporaryFile(dir=self._staged.folder)  # noqa: SIM115  (closed by commit and abort)
            except BaseException:
                self._staged.discard()
                raise

    def add_frame(self, row: Mapping[str, Any]) -> None:
        """Add the numbers of the next frame.

        Parameters
        ----------
        row
            Names and values: text, numbers (NaN and infinity become null), None, and lists and mappings of those.

        Raises
        ------
        SinkError
            When it cannot be written.
        """
        line = json.dumps(plain(row), allow_nan=False)
        with self._lock:
            self._require_open()
            self._state = "failed"  # until the whole line is written
            with self._explained():
                self._rows.write((",\n    " if self._n_rows else "\n    ").encode() + line.encode())
            self._n_rows += 1
            self._state = "open"

    def commit(self, head: Mapping[str, Any]) -> Path:
        """Write the sidecar and make it visible, in place of an older one.

        Parameters
        ----------
        head
            What is said of the whole run; it comes first in the file, after the version of the format.

        Returns
        -------
        pathlib.Path
            The sidecar. A second call changes nothing and returns the same.

        Raises
        ------
        ValueError
            When `head` holds a name that is the writer's own (format_version, frames).
        SinkError
            When it cannot be written; what was there before is untouched, and `abort` still has to be called.
        """
        if clash := [key for key in _OWN_KEYS if key in head]:
            raise ValueError(f"a sidecar's {clash[0]} is written by the writer")
        text = json.dumps(plain({"format_version": FORMAT_VERSION, **head}), indent=2, allow_nan=False)
        with self._lock:
            if self._state == "committed":
                return self._path
            self._require_open()
            self._state = "failed"
            with self._explained():
                self._rows.seek(0)
                with self._staged.path.open("wb") as file:
                    file.write(text.removesuffix("\n}").encode() + b',\n  "frames": [')
                    shutil.copyfileobj(self._rows, file, 1 << 20)
                    file.write(b"\n  ]\n}\n" if self._n_rows else b"]\n}\n")
                self._staged.publish(self._path.name)
            self._rows.close()
            self._state = "committed"
            return self._path

    def abort(self) -> None:
        """Remove what was written. Safe to call twice and after `commit`, from any thread."""
        with self._lock:
            if self._state in ("committed", "aborted"):
                return
            self._state = "aborted"
            with contextlib.suppress(OSError):  # rows that still wait in the buffer may not fit on a full disk
                self._rows.close()
            self._staged.discard()

    def __enter__(self) -> "SidecarWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _require_open(self) -> None:
        if self._state != "open":
            raise SinkError(f"sidecar {str(self._path)!r} takes no more: it was {self._state}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SinkError(f"sidecar {str(self._path)!r} cannot be written: {error.strerror or error}") from error


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """Read a sidecar.

    Parameters
    ----------
    path
        The sidecar (not the output).

    Returns
    -------
    dict
        The head's names and values, and ``frames``, a list of rows.

    Raises
    ------
    SourceError
        When it cannot be read, is no sidecar, or was written by a later version of the format.
    """
    what = f"sidecar {str(path)!r}"
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would keep the reader waiting
            raise SourceError(f"{what} is not a file")
        content = json.loads(Path(path).read_bytes())
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{what} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SourceError(f"{what} is damaged: {error}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or not isinstance(content.get("frames"), list):
        raise SourceError(f"{what} is no sidecar of framencc: it has no format_version or no frames")
    if version > FORMAT_VERSION:
        raise SourceError(f"{what} has format {version}; this framencc reads up to {FORMAT_VERSION}: update it")
    return dict(content)


def fingerprint(path: str | Path, files: Sequence[Path] | None = None) -> dict[str, Any]:
    """Describe a file, or the files of a sequence, well enough to notice that they were changed or exchanged.

    Parameters
    ----------
    path
        The file, or what names the sequence.
    files
        The files of a sequence, in its order.

    Returns
    -------
    dict
        Of a file: path, bytes, modified (ISO 8601, UTC) and the SHA-256 of its first and last MiB, or of all of it
        where it is no longer than both. A change in the middle that keeps size and time is not seen. Of a sequence:
        path, files (how many), bytes (of all), modified (of the latest), first and last (their names).

    Raises
    ------
    SourceError
        When one of them cannot be read.
    """
    try:
        if not files:
            return _fingerprint_file(Path(path))
        statuses = [file.stat() for file in files]
    except OSError as error:
        raise SourceError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    return {
        "path": str(path),
        "files": len(files),
        "bytes": sum(status.st_size for status in statuses),
        "modified": _iso(max(status.st_mtime for status in statuses)),
        "first": files[0].name,
        "last": files[-1].name,
    }


def _fingerprint_file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(_ENDS_BYTES, status.st_size - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return {
        "path": str(path),
        "bytes": status.st_size,
        "modified": _iso(status.st_mtime),
        "sha256_of_first_and_last_mib": digest.hexdigest(),
    }


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="microseconds")


def plain(value: Any) -> Any:
    """Turn a value into what JSON has, with null for the numbers that it has not."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path | Fraction):
        return str(value)
    return value
