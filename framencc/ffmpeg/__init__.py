"""ffmpeg as a child process: which program it is, how one is supervised, and what its messages say."""

from framencc.ffmpeg.child import INPUT_SAFETY, FfmpegChild, file_url
from framencc.ffmpeg.messages import FRAME_STAMPS, MARK, PACKET_STAMPS, WORK_BEGINS, FrameStamp, is_error
from framencc.ffmpeg.program import executable, find_ahead, what_is_wrong
from framencc.ffmpeg.threads import thread_options

__all__ = [
    "FRAME_STAMPS",
    "INPUT_SAFETY",
    "MARK",
    "PACKET_STAMPS",
    "WORK_BEGINS",
    "FfmpegChild",
    "FrameStamp",
    "executable",
    "file_url",
    "find_ahead",
    "is_error",
    "thread_options",
    "what_is_wrong",
]
