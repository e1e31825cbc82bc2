"""Which ffmpeg program is used, and whether what went wrong is its fault and not a file's."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import threading
from collections.abc import Sequence

from framencc.children import prepare_starts
from framencc.errors import FramenccError
from framencc.ffmpeg.messages import FRAME_STAMPS, MARK

NEEDED_VERSION = (6, 1)
_VARIABLE = "IMAGEIO_FFMPEG_EXE"
_NEEDED_CODEC_LIBRARY = (60, 31)  # of ffmpeg 6.1, for builds whose version is no number
_ANSWER_SECONDS = 30.0
# What every job needs of ffmpeg beyond the codecs, in one command.
_TRIAL = (
    *("-hide_banner", "-nostats", "-loglevel", "repeat+level+error"),
    *("-protocol_whitelist", "file,pipe,fd", "-format_whitelist", "rawvideo", "-max_pixels", "65536", "-copyts"),
    *("-f", "rawvideo", "-video_size", "16x16", "-pixel_format", "gray", "-i", "pipe:0"),
    *("-map", "0:V:0", "-fps_mode", "passthrough", "-map_metadata", "-1", "-map_chapters", "-1"),
    *(*FRAME_STAMPS, "-vf", f"showinfo{MARK}=checksum=0", "-frames:v", "1", "-f", "null", "-"),
)
_LACKS = re.compile(
    r"Unknown (?P<coder>encoder|decoder) '(?P<name>[^']+)'"
    r"|no decoder found for: (?P<codec>(?!none\b)\S+)"
    r"|Requested output format '(?P<muxer>[^']+)' is not known"
    r"|Unknown input format: '(?P<demuxer>[^']+)'"
)


def executable() -> str:
    """Return the path of the ffmpeg program: IMAGEIO_FFMPEG_EXE, or the one that imageio-ffmpeg brings.

    Raises
    ------
    FramenccError
        When there is none.
    """
    import imageio_ffmpeg  # noqa: PLC0415  (needed only by jobs that touch video)

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FramenccError(f"no ffmpeg program found: {error}; set {_VARIABLE} to one") from None


def find_ahead() -> None:
    """Find the program, and how it is started, while other things are loaded: both are tried once, for 50 ms."""

    def find() -> None:
        with contextlib.suppress(FramenccError):  # said by whoever needs it
            executable()
        prepare_starts()

    threading.Thread(target=find, name="framencc-ffmpeg", daemon=True).start()


def what_is_wrong(errors: Sequence[str] = (), *, demuxers: Sequence[str] = ()) -> str | None:
    """Say why the ffmpeg program is to blame for a failure, in one line; None where it is not.

    Asked only after something has failed: the answer takes some starts of the program.

    Parameters
    ----------
    errors
        What it complained of.
    demuxers
        What reading the input may need; given when ffmpeg did not know what the input is.
    """
    path = executable()
    problem = _unfit(path)
    if problem is not None:
        return problem
    for error in errors:
        if (match := _LACKS.search(error)) is not None:
            kind = match["coder"] or next(name for name in ("muxer", "demuxer", "codec") if match[name])
            name = match["name"] or match["muxer"] or match["demuxer"] or match["codec"]
            return f"{_described(path)} has no {'decoder for' if kind == 'codec' else kind} {name}; {_instead()}"
    if demuxers:
        known = _demuxers(path)
        missing = [name for name in demuxers if name not in known]
        if known and missing:
            return f"{_described(path)} has no demuxer for {', '.join(missing)}; {_instead()}"
    return None


@functools.lru_cache(maxsize=8)
def _unfit(path: str) -> str | None:
    """Try what every job needs."""
    result = _run(path, _TRIAL, bytes(256))
    if isinstance(result, str):
        return f"ffmpeg {path!r} {result}; {_instead()}"
    if result.returncode == 0 and f"{MARK} frame 0 " in result.stderr:
        return None
    version = _version(path)
    if version is None:
        return f"{path!r} is not a working ffmpeg: {_first_line(result)}; {_instead()}"
    if _is_too_old(path):
        needed = ".".join(map(str, NEEDED_VERSION))
        return f"ffmpeg {path!r} is version {version}, which is too old: framencc needs {needed} or newer; {_instead()}"
    return f"ffmpeg {path!r}, version {version}, cannot do what framencc needs: {_first_line(result)}; {_instead()}"


def _described(path: str) -> str:
    return f"ffmpeg {path!r}, version {_version(path)},"


def _instead() -> str:
    if os.environ.get(_VARIABLE):
        return f"set {_VARIABLE} to another ffmpeg, or unset it to use the one that imageio-ffmpeg brings"
    return f"set {_VARIABLE} to another ffmpeg"


@functools.lru_cache(maxsize=8)
def _answer(path: str) -> str:
    """Return what the program says of its version; nothing where it says nothing."""
    result = _run(path, ("-version",))
    return "" if isinstance(result, str) else result.stdout


def _version(path: str) -> str | None:
    match = re.match(r"ffmpeg version (\S+)", _answer(path))
    return match[1] if match else None


def _is_too_old(path: str) -> bool:
    """Whether its version is below the needed one; of builds that have no number their library's decides."""
    if (match := re.match(r"n?(\d+)\.(\d+)", _version(path) or "")) is not None:
        return (int(match[1]), int(match[2])) < NEEDED_VERSION
    library = re.search(r"^libavcodec +(\d+)\. *(\d+)\.", _answer(path), re.MULTILINE)
    return library is not None and (int(library[1]), int(library[2])) < _NEEDED_CODEC_LIBRARY


@functools.lru_cache(maxsize=8)
def _demuxers(path: str) -> frozenset[str]:
    result = _run(path, ("-hide_banner", "-demuxers"))
    if isinstance(result, str):
        return frozenset()
    listed = re.findall(r"^ D[E ]?[d ]? +([\w,]+) ", result.stdout, re.MULTILINE)
    return frozenset(name for names in listed for name in names.split(","))


def _run(path: str, arguments: Sequence[str], stdin: bytes = b"") -> "subprocess.CompletedProcess[str] | str":
    """Run the program to its end; or say why that could not be."""
    try:
        done = subprocess.run(
            [path, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_ANSWER_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"does not answer within {_ANSWER_SECONDS:g} s"
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    if done.returncode < 0:
        name = signal.strsignal(-done.returncode) or "unknown"
        return f"crashes (signal {-done.returncode}, {name.lower()})"
    texts = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


def _first_line(result: "subprocess.CompletedProcess[str]") -> str:
    lines = (result.stderr + result.stdout).strip().splitlines()
    said = re.sub(r"^(\[[^\]]*\] )+", "", lines[0])[:200].rstrip(".") if lines else "it prints nothing"
    return f"{said} (exit status {result.returncode})"
