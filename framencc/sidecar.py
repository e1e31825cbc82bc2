"""The record beside an output, OUTPUT.json: what was asked, of what, by which versions, and every frame's numbers."""

import contextlib
import datetime
import hashlib
import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from framencc.errors import SinkError, SourceError
from framencc.lookup import read_file
from framencc.staging import Staged, sidecar_path

FORMAT_VERSION = 1
_ENDS_BYTES = 1 << 20
_OWN_KEYS = ("format_version", "frames")
_DEEPEST = 32  # lists and mappings inside each other; a sidecar needs half a dozen
_LARGEST = 2**63


def _nameable(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError("is no name of a file")
    os.fsencode(name)
    return name


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Row(_Part):
    index: int | None = None
    pts_seconds: float | None = None
    digests: dict[str, str | None] = {}
    imprints: dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]] = {}


class _Content(_Part):
    """The types of what is taken as given once a sidecar has been read; what is missing is for its reader to say."""

    frames: list[_Row]
    outputs: dict[str, Annotated[str, AfterValidator(_nameable)]] | None = None
    results: dict[str, dict[str, Any]] = {}
    sizes: dict[str, Any] = {}
    stream: dict[str, Any] = {}
    encoding: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    error: str | None = None
    warnings: list[str] = []


class _Place(_Part):
    index: int
    pts_seconds: float


class _Worst(_Place):
    value: float


class _Score(_Part):
    worst: _Worst | None


class _Unmeasured(_Part):
    n_frames: int
    first: _Place
    reason: str


class _Region(_Part):
    mean: _Score
    frames_below_threshold: int = 0


class _Scores(_Part):
    mean_confidence: _Score


class _Summary(_Part):
    n_frames: int
    mean_confidence: float | None
    failed_warps: int
    damaged_frames: int
    frames_below_threshold: int
    scores: _Scores
    regions: dict[str, _Region] | None
    unmeasured_frames: _Unmeasured | None


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
        When it cannot be read, is no sidecar, holds what no sidecar holds, or was written by a later version of the
        format.
    """
    what = f"sidecar {str(path)!r}"
    text = read_file(path, what)
    try:
        content = json.loads(text)
    except RecursionError:
        raise SourceError(f"{what} is damaged: its lists are nested too deeply") from None
    except ValueError as error:
        raise SourceError(f"{what} is damaged: {error}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is not int or not isinstance(content.get("frames"), list):
        raise SourceError(f"{what} is no sidecar of framencc: it has no format_version or no frames")
    if version > FORMAT_VERSION:
        raise SourceError(f"{what} has format {version}; this framencc reads up to {FORMAT_VERSION}: update it")
    _require_plain(content, what)
    try:
        _Content.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SourceError(f"{what} is damaged: {place}: {first['msg']}") from None
    return dict(content)


def summary_of(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a sidecar says of all frames together; None where that is not whole."""
    try:
        _Summary.model_validate(content.get("summary"))
    except ValidationError:
        return None
    return dict(content["summary"])


def _require_plain(content: dict[str, Any], what: str) -> None:
    """Refuse what JSON allows and `plain` never makes: no end of nesting, numbers beyond 64 bits, and NaN."""
    level: list[dict[str, Any] | list[Any]] = [content]
    for _ in range(_DEEPEST):
        deeper: list[dict[str, Any] | list[Any]] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, dict | list):
                    deeper.append(value)
                elif (isinstance(value, float) and not math.isfinite(value)) or (
                    isinstance(value, int) and not -_LARGEST <= value < _LARGEST
                ):
                    raise SourceError(f"{what} is damaged: it holds a number that no sidecar holds")
        if not deeper:
            return
        level = deeper
    raise SourceError(f"{what} is damaged: its lists are nested too deeply")


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
