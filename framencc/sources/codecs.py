"""Codecs that ffmpeg does not decode by itself: which can be decoded nevertheless, and what to say of the others."""

from framencc.sources.facts import StreamFacts

# Industrial cameras write gray samples in 16-bit words under these fourccs (V4L2's names), which ffmpeg knows by other
# ones: Y1, 0 and the number of bits.
_GRAY_BITS = {"Y10 ": 10, "Y12 ": 12, "Y14 ": 14, "Y16 ": 16}
# Raw values of a sensor behind a colour filter, by the names of V4L2, DirectShow and QuickTime.
_BAYER = (
    *("BA81", "BYR1", "BYR2", "BYR3", "BYR4", "GBRG", "GRBG", "RGGB", "BGGR"),
    *(colours + bits for colours in ("BA", "BG", "GB", "GR", "RG") for bits in ("10", "12", "14", "16")),
)
# Decoders that read the alpha layer of a codec, where the usual one passes over it.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# These store alpha with loss: what was wholly transparent comes back as 1 here and there, or a little more.
LOSSY_ALPHA = ("vp8", "vp9", "hevc")
ALPHA_LOSS = 16


def raw_decoder(stream: StreamFacts) -> tuple[str, ...]:
    """Return the input options with which a stream that has no decoder can be read as plain gray; else nothing."""
    bits = _GRAY_BITS.get(stream.fourcc or "")
    if stream.codec != "none" or bits is None:
        return ()
    # ffmpeg's own look at the stream comes before the tag is set, and complains; raw frames need no look.
    tag = int.from_bytes(bytes((*b"Y1", 0, bits)), "little")
    return ("-nofind_stream_info", "-c:v", "rawvideo", "-tag:v", str(tag))


def why_undecoded(stream: StreamFacts) -> str | None:
    """Say why a stream cannot be decoded, as the end of a sentence; None where its codec is known."""
    if stream.codec != "none":
        return None
    if stream.fourcc in _BAYER:
        return (
            f"its fourcc {stream.fourcc} stands for raw sensor data (Bayer), for which no decoder is known; convert it "
            f"to gray or RGB with the camera's software"
        )
    named = "its codec" if stream.fourcc is None else f"fourcc {stream.fourcc.strip()!r}"
    return f"no decoder is known for {named}; convert it with the software that wrote it, for example to FFV1 or H.264"
