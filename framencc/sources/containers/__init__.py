"""What a container promises of a video, read from its own tables and not by ffmpeg.

ffmpeg ends in silence where a file has been cut between two frames, so somebody else has to know how many there were.
MP4, QuickTime and AVI say it in tables that can be read in a few steps; a Matroska file that ends early makes ffmpeg
complain; other containers promise nothing that could be relied on.
"""

import logging
import struct

from framencc.sources.containers.avi import read_avi
from framencc.sources.containers.matroska import has_alpha_layer
from framencc.sources.containers.mp4 import read_mp4
from framencc.sources.containers.promise import NOTHING, Promise, Window

logger = logging.getLogger(__name__)

__all__ = ["NOTHING", "Promise", "read_alpha_layer", "read_promise"]


def read_alpha_layer(path: str, track: int) -> bool:
    """Tell whether a Matroska or WebM file stores alpha beside the pictures of a video track, counted from 0.

    VP8 and VP9 know no alpha: it is a second picture beside each, which most decoders pass over.
    """
    try:
        with Window.open(path) as window:
            return window.read(0, 4) == b"\x1a\x45\xdf\xa3" and has_alpha_layer(window, track)
    except (OSError, ValueError) as error:
        logger.debug("%s: %s", path, error)
    return False


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
