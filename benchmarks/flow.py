"""A whole run with optical flow and configs/faces_flow.toml, beside the sum of its parts, each measured alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.clip import count_slices, decode, encode_gray, make_clip, read_gray, require_frames, write_raw
from benchmarks.processes import Recorded, Usage, run_framencc
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, time_side_by_side

DEFAULTS = {"rounds": 3, "frames": (300,)}
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "faces_flow.toml"
OURS = "framencc run: decode, flow, warp, correlate, score, encode"
DECODE, ENCODE = "ffmpeg decodes the gray plane", "ffmpeg encodes the maps as FFV1"
FLOW = "OpenCV DIS, preset fast, there and back"
_PART = 60  # frames that are searched and encoded alone; their time is scaled to the whole clip

NOTES = f"""\
Each part works alone on the same clip with as many threads: ffmpeg decodes it to nowhere; OpenCV searches the flow
from the reference to each frame and back, in memory, from a cold start; ffmpeg encodes the maps of the run. A run of
framencc is a whole process with the settings of configs/faces_flow.toml: it also starts Python, probes the clip,
prepares both images for the search, samples the frame, correlates, scores, weights the confidence, writes the sidecar
and checks what it has written. Search and encoding alone are timed on the first {_PART} frames and scaled."""


def measure(options: Options) -> Findings:
    n_frames = options.frames[0]
    with tempfile.TemporaryDirectory(prefix="framencc-benchmark-") as folder:
        say(f"making a clip of {n_frames} frames")
        clip = make_clip(Path(folder), *options.size, n_frames)
        timings, ours = time_parts(clip, Path(folder), options, n_frames)
    say(describe(timings, OURS))
    parts = [timings[name] for name in (DECODE, FLOW, ENCODE)]
    total = Timing(tuple(map(sum, zip(*(part.seconds for part in parts), strict=True))))
    rows = [[name, f"{timing.median:.2f}", ""] for name, timing in timings.items() if name != OURS]
    rows.append(["sum of the parts", f"{total.median:.2f}", "1"])
    ratio, own_cpu = timings[OURS].median_ratio(total), 1000 * ours.own_cpu() / n_frames
    rows.append([OURS, f"{timings[OURS].median:.2f}", f"{ratio:.2f}"])
    head = [f"{n_frames} frames of {options.shape}", "seconds", "time over the sum"]
    text = f"{table(head, rows)}\n\n{caption(options, 'numba', 'opencv-python')}\n{NOTES}"
    name = f"flow/{n_frames}"
    figures = {f"{name}/ratio": ratio, f"{name}/own_cpu_ms": own_cpu}
    figures[f"{name}/ms_a_frame"] = 1000 * timings[OURS].median / n_frames
    return Findings({"flow": text}, figures)


def time_parts(clip: Path, folder: Path, options: Options, n_frames: int) -> tuple[dict[str, Timing], Recorded]:
    """Time the run and its parts in turn, and make sure that every frame arrived."""
    import cv2

    cv2.setNumThreads(options.threads)
    width, height = options.size
    raw, maps, gray = folder / "pictures.raw", folder / "maps.mkv", folder / "gray.mkv"
    n_part = min(_PART, n_frames)
    part = make_clip(folder, width, height, n_part)
    frames = read_gray(part, raw, width, height)

    def run(video: Path) -> Usage:
        words = ("run", video, maps, "--config", CONFIG, "--reference", 0, "--threads", options.threads)
        return run_framencc(*words, "--overwrite", "--quiet")

    run(part)  # its kernels are compiled from now on
    write_raw(maps, raw)
    slices = count_slices(maps)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def there_and_back() -> None:
        for frame in frames:
            search.calc(frames[0], frame, None)
            search.calc(frame, frames[0], None)

    candidates: dict[str, Callable[[], object]] = {
        OURS: (ours := Recorded(lambda: run(clip))),
        DECODE: lambda: decode(clip, threads=options.threads),
        FLOW: there_and_back,
        ENCODE: lambda: encode_gray(raw, width, height, gray, slices=slices, threads=options.threads),
    }
    timings = time_side_by_side(candidates, options.rounds, warm_ups=0)
    for name in (FLOW, ENCODE):
        timings[name] = Timing(tuple(seconds * n_frames / n_part for seconds in timings[name].seconds))
    require_frames(maps, n_frames)
    require_frames(gray, n_part)
    return timings, ours
