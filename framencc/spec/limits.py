"""The options of what a run may cost."""

from pydantic import Field

from framencc.spec.model import Model
from framencc.values import MAX_PIXELS, Integer, Real

MAX_FRAME_NUMBER = 2**31 - 1


class LimitsSpec(Model):
    """What a run may cost before it is stopped."""

    stall_seconds: Real = Field(
        60.0,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="a decoder or encoder without progress for this long is killed",
    )
    decoder_memory_mib: Integer = Field(
        8192,
        ge=256,
        le=1 << 24,
        description="memory that a video's decoder may have, in MiB (Linux only); a large picture needs some for each "
        "of the decoder's threads",
        examples=[4096],
    )
    max_pixels: Integer = Field(
        MAX_PIXELS,
        ge=1,
        le=MAX_PIXELS,
        description="larger frames, references and masks are refused unread (fields have the reference's size)",
    )
    max_frames: Integer = Field(
        10_000_000,
        ge=1,
        le=MAX_FRAME_NUMBER,
        description="an input, or a mask for each frame, that goes on for longer ends the run; 10 million frames are "
        "46 hours at 60 a second",
    )
    max_decoded_gib: Real = Field(
        1_000_000.0,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="the same for an input that unpacks to more GiB in all; an hour of 4K at 60 frames a second is "
        "1700 in 8 bits",
    )
