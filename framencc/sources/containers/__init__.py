"""What a container promises of a video, read from its own tables and not by ffmpeg.

ffmpeg ends in silence where a file has been cut between two frames, so somebody else has to know how many there were.
MP4, QuickTime and AVI say it in tables that can be read in a few steps; a Matroska file that ends early makes ffmpeg
complain; other containers promise nothing that could be relied on.
"""

import logging
import struct
from typing import Literal

from framencc.sources.containers.avi import read_avi
from framencc.sources.containers.matroska import has_alpha_layer
from framencc.sources.containers.mp4 import has_alpha_image, read_mp4
from framencc.sources.containers.promise import NOTHING, Promise, Window

logger = logging.getLogger(__name__)

__all__ = ["NOTHING", "Promise", "read_promise", "read_separate_alpha"]


def read_separate_alpha(path: str, track: int) -> Literal["layer", "image"] | None:
    """Tell whether a file stores alpha apart from the pictures that it belongs to, where a decoder passes over it.

    Parameters
    ----------
    path
        The file.
    track
        Number of the video track among the file's video tracks, from 0.

    Returns
    -------
    str or None
        ``layer`` for WebM and Matroska: VP8 and VP9 know no alpha, it is a second picture beside each. ``image`` for
        AVIF and HEIF: it is another still image in the file. None where there is none.
    """
    try:
        with Window.open(path) as window:
            if window.read(0, 4) == b"\x1a\x45\xdf\xa3":
                return "layer" if has_alpha_layer(window, track) else None
            if window.read(4, 4) == b"ftyp":
                return "image" if has_alpha_image(window) else None
    except (OSError, ValueError) as error:
        logger.debug("%s: %s", path, error)
    return None


def read_promise(path: str, stream: int) -> Promise:
    """Read what a file says of one of its streams.

    Parameters
    ----------
    path
        The file.
    stream
        Number of the stream as ffmpeg counts them, from 0.

    Returns
    -------
    Promise
        Empty where the container is another one, promises nothing, or does not make sense: what is wrong with it is
        then the decoder's to say.
    """
    try:
        with Window.open(path) as window:
            start = window.read(0, 12)
            if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
                return read_mp4(window, stream)
            if start[:4] == b"RIFF" and start[8:] == b"AVI ":
                return read_avi(window, stream)
    except (OSError, ValueError, LookupError, struct.error) as error:
        logger.debug("%s: %s", path, error)
    return NOTHING
