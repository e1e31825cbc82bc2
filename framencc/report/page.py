"""The page itself: one HTML file that holds everything it shows and loads nothing."""

import base64
import json
import math
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from framencc.errors import FramenccError, SinkError, SpecError
from framencc.lookup import is_folder, look_up
from framencc.report.extras import import_jinja2, plotly_script
from framencc.staging import Staged

_PLAYABLE = {".mp4": "video/mp4", ".mov": "video/mp4"}
_EMBEDDED_BYTES = 3 << 20
_SIGNATURE = (4, b"ftyp")
# In a script element these could end it, or begin a comment; in JSON strings they can be written otherwise.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: object) -> str:
    """Write a value as JSON that can stand in a script element, whatever its strings hold."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text


def render(page: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Fill in the page.

    Parameters
    ----------
    page
        What the template shows; every string is escaped.
    data
        What the page's own script draws.

    Raises
    ------
    MissingExtraError
        When Jinja or Plotly is not installed.
    """
    jinja2 = import_jinja2()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("framencc.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": format_score, "percent": format_percent, "change": format_change}
    assets = files("framencc.report") / "assets"
    return str(
        environment.get_template("report.html.j2").render(
            page=page,
            style=(assets / "report.css").read_text(encoding="utf-8"),
            script=(assets / "report.js").read_text(encoding="utf-8"),
            plotly=plotly_script(),
            data=script_json(data),
        )
    )


def format_score(value: float | None, digits: int = 3) -> str:
    """Write a score, or a dash where nothing was measured."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_change(value: float | None) -> str:
    """Write a difference of scores with its sign, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:+z.3f}"


def format_percent(value: float | None) -> str:
    """Write a share in percent; one that is not zero never looks like it."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def format_seconds(value: float) -> str:
    """Write a time as people read it off a player: 1:02.480."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    milliseconds = round(value * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{sign}{hours}:{minutes:02d}:{clock}" if hours else f"{sign}{minutes}:{clock}"


def find_video(candidates: Mapping[str, Path | None], folder: Path) -> dict[str, Any] | None:
    """Choose the video that a report plays.

    Parameters
    ----------
    candidates
        Videos and what they are called, the best first.
    folder
        Where the report is going to be; a video that is too large to be embedded is linked from there.

    Returns
    -------
    dict or None
        label, src, embedded, name and type; None where there is no video that a browser plays.
    """
    for label, path in candidates.items():
        kind = None if path is None else _PLAYABLE.get(path.suffix.lower())
        if path is None or kind is None or not _is_video(path):
            continue
        embedded = path.stat().st_size <= _EMBEDDED_BYTES
        if embedded:
            source = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
        else:
            source = link(path, folder)
        return {"label": label, "src": source, "embedded": embedded, "name": path.name, "type": kind}
    return None


def preview_problems(preview: Path | None, name: str = "preview") -> list[str]:
    """Say why a preview that was made cannot be played by a page; nothing where it can, or there was none."""
    if preview is None:
        return []
    try:
        if look_up(preview, f"the {name} {str(preview)!r}") is None:
            return [f"the {name} {str(preview)!r} is gone"]
    except FramenccError as error:
        return [str(error)]
    if preview.suffix.lower() not in _PLAYABLE:
        return [f"the {name} {str(preview)!r} is not shown, as browsers play no {preview.suffix}; an .mp4 would be"]
    return [] if _is_video(preview) else [f"the {name} {str(preview)!r} is no video"]


def link(path: Path, folder: Path) -> str:
    """Return the address of a file as seen from a folder, so that both can be moved together."""
    here = folder.absolute()
    try:
        relative = os.path.relpath(path.absolute(), here)
        # A browser cuts ".." out of the spelling of an address, where the system goes up from what a link stands for.
        if os.path.realpath(os.path.normpath(here / relative)) != os.path.realpath(path):
            relative = os.path.relpath(path.resolve(), here)
    except ValueError:  # on another drive of Windows
        return path.absolute().as_uri()
    return quote(Path(relative).as_posix())


def target_for(default: Path, target: str | Path | None, *, overwrite: bool) -> Path:
    """Decide where a report goes, before any work.

    Raises
    ------
    SpecError
        When something is there that may not be replaced.
    """
    path = default if target is None else Path(target)
    if path.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"report {str(path)!r} must end in .html")
    if is_folder(path, f"report {str(path)!r}"):
        raise SpecError(f"report {str(path)!r} is a folder")
    if not overwrite and os.path.lexists(path):
        raise SpecError(f"report {str(path)!r} exists; --overwrite replaces it")
    return path


def publish(text: str, path: Path) -> Path:
    """Write a page; it appears whole or not at all.

    Raises
    ------
    SinkError
        When it cannot be written.
    """
    try:
        staged = Staged(path)
        try:
            staged.path.write_text(text, encoding="utf-8", errors="backslashreplace")
            staged.publish(path.name)
        except BaseException:
            staged.discard()
            raise
    except OSError as error:
        raise SinkError(f"report {str(path)!r} cannot be written: {error.strerror or error}") from error
    return path


def _is_video(path: Path) -> bool:
    """Whether a file begins like a video: a sidecar must not make a page of any file that it names."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            file.seek(_SIGNATURE[0])
            return file.read(len(_SIGNATURE[1])) == _SIGNATURE[1]
    except OSError:
        return False
