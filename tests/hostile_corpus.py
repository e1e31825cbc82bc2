"""Media files that are broken, spliced, renamed or something else than they say; the same ones every time.

Imports nothing of the package under test.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media import FFV1, write_clip, yuv444

HEIGHT, WIDTH, N_FRAMES = 32, 48, 12
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "4", "-crf", "20")
# x265 writes beyond its memory where a picture is smaller than its usual blocks of 64 pixels.
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:ctu=16")
_B_FRAMES = (*H264, "-bf", "2")
RECIPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "index-first.mp4": ("yuv420p", (*_B_FRAMES, "-movflags", "+faststart")),
    "index-last.mp4": ("yuv420p", _B_FRAMES),
    "fragments.mp4": ("yuv420p", (*H264, "-movflags", "frag_keyframe+empty_moov")),
    "hevc.mp4": ("yuv420p10le", HEVC),
    "prores.mov": ("yuv422p10le", ("-c:v", "prores_ks")),
    "h264.mkv": ("yuv420p", _B_FRAMES),
    "ffv1.mkv": ("yuv420p", FFV1),
    "gray.mkv": ("gray", FFV1),
    "ffv1-16.mkv": ("gray16le", FFV1),
    "mjpeg.avi": ("yuvj420p", ("-c:v", "mjpeg", "-strict", "unofficial")),
    "mpeg4.avi": ("yuv420p", ("-c:v", "mpeg4", "-bf", "0")),
    "huffyuv.avi": ("yuv422p", ("-c:v", "huffyuv")),
    "vp9.webm": ("yuv420p", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
    "h264.ts": ("yuv420p", H264),
    "mpeg2.ts": ("yuv420p", ("-c:v", "mpeg2video")),
    "mpeg2.mpg": ("yuv420p", ("-c:v", "mpeg2video", "-bf", "2")),
    "palette.gif": ("rgb8", ("-c:v", "gif")),
    "raw.y4m": (
        "yuv420p",
        (
            "-c:v",
            "wrapped_avframe",
        ),
    ),
    "raw.nut": ("yuv420p", ("-c:v", "rawvideo")),
    "stream.h264": ("yuv420p", H264),
}
"""Pixel format and codec of a clip of each container."""

_OTHER_NAMES = (".mkv", ".mp4", ".avi", ".gif", ".webm", ".bin", ".png", ".tif", ".npy", ".m3u8", ".sdp", "")


@dataclass(frozen=True)
class Hostile:
    """A file that somebody may hand to the command.

    Parameters
    ----------
    path
        The file.
    original
        The undamaged file that it was made from; None where there is none.
    certain
        The exit codes that it may end with.
    """

    path: Path
    original: Path | None = None
    certain: tuple[int, ...] = (0, 1, 2, 3)


def generator(name: str) -> np.random.Generator:
    """Return random numbers that depend on a name alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def moving_texture(n_frames: int, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Make frames (N, H, W) of which no two are alike, yet smooth enough for any codec."""
    rng = np.random.default_rng(seed)
    rows, columns = (height + 2 * n_frames) // 3 + 2, (width + 2 * n_frames) // 3 + 2
    coarse = np.kron(rng.integers(20, 230, (rows, columns)), np.ones((3, 3)))
    smooth = sum(np.roll(coarse, (y, x), (0, 1)) for y in range(3) for x in range(3)) / 9
    frames = [smooth[k : k + height, 2 * k : 2 * k + width] for k in range(n_frames)]
    return np.rint(np.stack(frames)).astype(np.uint8)


def make_clips(folder: Path) -> dict[str, Path]:
    """Make one small clip of each container and codec, by its name in `RECIPES`."""
    folder.mkdir()
    clips = {}
    for name, (pixel_format, codec) in RECIPES.items():
        bits = 16 if "16" in pixel_format else 8
        frames = yuv444(
            moving_texture(N_FRAMES).astype(np.uint16) * 257 if bits == 16 else moving_texture(N_FRAMES), bits
        )
        given = "yuv444p16le" if bits == 16 else "yuv444p"
        clips[name] = write_clip(folder / name, frames, "-pix_fmt", pixel_format, pixel_format=given, codec=codec)
    return clips


# What is done to a file's bytes: a name, a number that tells the attempts apart, and the content give the new content.


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one to eight single bits, every other time near the beginning, where containers keep their index."""
    changed = bytearray(content)
    end = len(content) if rng.integers(2) else min(len(content), 600)
    for place in rng.integers(0, end, rng.integers(1, 9)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Keep the beginning: of any length, or all but a few bytes, or next to nothing."""
    length = (rng.integers(1, len(content)), len(content) - rng.integers(1, 40), rng.integers(1, 64))
    return content[: int(length[rng.choice(3, p=(0.7, 0.2, 0.1))])]


def scramble(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite, repeat, leave out or insert a run of bytes."""
    start = int(rng.integers(0, len(content)))
    size = int(rng.integers(1, max(2, len(content) // 8)))
    noise = rng.bytes(size)
    return (
        content[:start] + noise[: len(content) - start] + content[start + size :],
        content[:start] + bytes(size) + content[start + size :],
        content[: start + size] + content[start:],
        content[:start] + content[start + size :],
        content[:start] + noise + content[start:],
    )[rng.integers(5)]


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "flipped": flip_bits,
    "cut": truncate,
    "scrambled": scramble,
}


def mutated(original: Path, folder: Path, kind: str, count: int) -> Iterator[Hostile]:
    """Yield `count` files that were made from one by a mutation."""
    content = original.read_bytes()
    for attempt in range(count):
        name = f"{kind}{attempt}_{original.name}"
        path = folder / name
        path.write_bytes(MUTATIONS[kind](content, generator(name)))
        yield Hostile(path, original)


def spliced(clips: dict[str, Path], folder: Path, count: int) -> Iterator[Hostile]:
    """Yield files that begin like one clip and go on like another."""
    rng = generator("spliced")
    names = sorted(clips)
    for attempt in range(count):
        head, body = rng.choice(names, 2, replace=False)
        contents = clips[head].read_bytes(), clips[body].read_bytes()
        cut = int(rng.choice((8, 64, 400, len(contents[0]) // 2, len(contents[0]))))
        path = folder / f"spliced{attempt}_{Path(body).stem}{Path(head).suffix}"
        path.write_bytes(contents[0][:cut] + contents[1][cut if rng.integers(2) else 0 :])
        yield Hostile(path)


def renamed(clips: dict[str, Path], folder: Path) -> Iterator[Hostile]:
    """Yield clips under the endings of others, of pictures, of playlists, and under none."""
    for place, (name, clip) in enumerate(sorted(clips.items())):
        for suffix in (_OTHER_NAMES[(3 * place + step) % len(_OTHER_NAMES)] for step in range(3)):
            path = folder / f"renamed_{name.replace('.', '_')}{suffix}"
            path.write_bytes(clip.read_bytes())
            yield Hostile(path, clip)


def nearly_nothing(folder: Path) -> Iterator[Hostile]:
    """Yield files of no or a few bytes."""
    starts = (
        b"",
        b"\0",
        b"\x1aE\xdf\xa3",
        b"\0\0\0\x18ftypmp42",
        b"RIFF\xff\xff\xff\xffAVI ",
        b"GIF89a\xff\xff\xff\xff",
    )
    for place, start in enumerate(starts):
        for suffix in (".mp4", ".mkv", ".avi", ".gif", ".png", ".tif", ".npy", ".jpg"):
            path = folder / f"nothing{place}{suffix}"
            path.write_bytes(start)
            yield Hostile(path, certain=(1, 2))


def texts(target: Path, url: str) -> dict[str, str]:
    """Write playlists and the like that name a file and an address, by what they are called."""
    return {
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\nduration 1\n",
        "ffconcat-url": f"ffconcat version 1.0\nfile '{url}/clip.mkv'\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:{target}\n#EXT-X-ENDLIST\n",
        "hls-url": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}/part.ts\n#EXT-X-ENDLIST\n",
        "hls-master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}/list.m3u8\n",
        "hls-key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/key"\n#EXTINF:1,\nfile:{target}\n#EXT-X-ENDLIST\n',
        "m3u": f"{target}\n{url}/clip.mkv\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        f"a=rtpmap:96 H264/90000\na=control:{url}\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "srt": f"1\n00:00:00,000 --> 00:00:01,000\n{url}\n",
        "ass": f"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,,,,,,{target}\n",
        "webvtt": f"WEBVTT\n\n00:00.000 --> 00:01.000\n{url}\n",
        "ffmetadata": f";FFMETADATA1\ntitle={url}\nstream={target}\n",
        "imf": f'<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{target}'
        "</Path></AssetMap>",
        "redirect": f"[Reference]\nRef1={url}/clip.avi\n",
        "lavfi": f"movie={target}",
    }


def disguised(folder: Path, target: Path, url: str) -> Iterator[Hostile]:
    """Yield such texts under the names of media, of pictures, and under their own."""
    for kind, text in texts(target, url).items():
        for suffix in (".mp4", ".mkv", ".ts", ".gif", ".m3u8", ".png", ".tif"):
            path = folder / f"{kind}{suffix}"
            path.write_text(text)
            yield Hostile(path, certain=(1, 2))


def changing_size(folder: Path) -> Iterator[Hostile]:
    """Yield clips whose pictures change their size or kind in mid-stream."""
    small, large = yuv444(moving_texture(8)), yuv444(moving_texture(8, 48, 64, 1))
    for suffix, codec in {
        ".ts": H264,
        ".h264": H264,
        ".m2v": ("-c:v", "mpeg2video"),
        ".mpg": ("-c:v", "mpeg2video"),
        ".gif": ("-c:v", "gif"),
        ".nut": ("-c:v", "rawvideo"),
        ".avi": ("-c:v", "mjpeg", "-strict", "unofficial"),
    }.items():
        pixel_format = "rgb8" if suffix == ".gif" else "yuvj420p" if suffix == ".avi" else "yuv420p"
        parts = [
            write_clip(
                folder / f"part{place}{suffix}", frames, "-pix_fmt", pixel_format, pixel_format="yuv444p", codec=codec
            ).read_bytes()
            for place, frames in enumerate((small, large))
        ]
        for order in ((0, 1), (1, 0)):
            path = folder / f"changing{order[0]}{suffix}"
            path.write_bytes(b"".join(parts[place] for place in order))
            yield Hostile(path)
        for place in (0, 1):
            (folder / f"part{place}{suffix}").unlink()


def odd_names() -> tuple[str, ...]:
    """Name files so that a program may take the name for something else."""
    return (
        "-x.mkv",
        "-i",
        "--output.mkv",
        "100%.mkv",
        "%d.mkv",
        "%05d.mkv",
        "%s%n.mkv",
        "a\nb.mkv",
        "a\rb.mkv",
        "\t.mkv",
        'it\'s "quoted".mkv',
        "$(touch gone).mkv",
        "`id`;&.mkv",
        "\u00e4 \u9854 \U0001f600.mkv",
        "e\u0301.mkv",
        "\u202egpj.mkv",
        "concat:a|b.mkv",
        "http:x.mkv",
        "http:",
        "pipe:0",
        "file:x.mkv",
        "data:video,x.mkv",
        "subfile,,start,0,end,9,,:x.mkv",
        "crypto:x.mkv",
        "tcp:127.0.0.1:9.mkv",
        "cache:x.mkv",
        "*.mkv",
        "[a-z].mkv",
        "x.mkv ",
        " x.mkv",
        "x.",
        ".hidden.mkv",
        "~.mkv",
        "a\\b.mkv",
        "C:x.mkv",
        "0",
        "n" * 251 + ".mkv",
        "\u9854" * 83 + ".mkv",
    )
