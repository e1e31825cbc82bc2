"""What is written when all maps are made: the scores of every frame, and maps of the whole clip."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import framencc
from framencc.frames import Picture
from framencc.pipeline.tally import BADNESS
from framencc.render import encode
from framencc.shades import maximum_code
from framencc.sinks.images import encode_picture
from framencc.spec import RunSpec
from framencc.staging import sync_file

Row = Mapping[str, Any]
_CHECKSUMS = ("digests", "imprints")
_PASSED_ON = ("index", "pts_seconds", "file", "damaged", *BADNESS)


def write_scores(path: Path, rows: Callable[[], Iterator[Row]]) -> None:
    """Write the scores of every frame, as CSV or JSON lines by the file's name.

    Parameters
    ----------
    path
        The file.
    rows
        Gives the sidecar's rows, first to last, each time that it is called.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    # The name of a picture may be no UTF-8.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        if path.suffix.lower() == ".jsonl":
            for row in rows():
                kept = {name: value for name, value in row.items() if name not in _CHECKSUMS}
                file.write(json.dumps(kept, allow_nan=False) + "\n")
            return
        columns = list(dict.fromkeys(name for row in rows() for name in _flat(row)))
        writer = csv.DictWriter(file, columns, lineterminator="\n")  # None becomes an empty cell
        writer.writeheader()
        writer.writerows(_flat(row) for row in rows())


def write_clip_map(path: Path, clip_map: Picture, name: str, spec: RunSpec) -> dict[str, Any]:
    """Write one map of the whole clip; return how values became codes.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    how: dict[str, Any] = {"encoding": "float"}
    if path.suffix.lower() == ".png":
        encoding = "signed" if spec.output_format.encoding == "signed" else "clip"
        bits = spec.output_format.bits
        clip_map = encode(clip_map, encoding, bits, threads=spec.threads)  # type: ignore[arg-type]
        how = {"encoding": encoding, "bits": bits, "maximum": maximum_code(bits)}
    metadata = {"framencc": framencc.__version__, "framencc_map": name}
    metadata |= {f"framencc_{fact}": str(value) for fact, value in how.items()}
    path.write_bytes(encode_picture(path, clip_map, metadata))
    return how


def seal_result(path: Path) -> dict[str, Any]:
    """Flush a written file to the disk, and say how to know it again."""
    sync_file(path)
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _flat(row: Row) -> dict[str, Any]:
    """Return a row's scores under the names of their columns."""
    flat = {name: row[name] for name in _PASSED_ON if name in row}
    flat |= {f"code_share_{code}": share for code, share in enumerate(row["code_shares"])}
    if "warp" in row:
        flat["warp_status"] = row["warp"]["status"]
    for region, scores in row.get("regions", {}).items():
        flat |= {f"{region}.{name}": value for name, value in scores.items()}
    return flat
