"""TIFF files written tag by tag, for what no writer at hand makes."""

import struct
from pathlib import Path

HEIGHT, WIDTH = 36, 52


def tiff(path: Path, strips: list[bytes], order: str = "<", **tags: object) -> Path:
    """Write a TIFF of 52 x 36 pixels; `tags` are further ones or others, by names like ``t259``."""
    fields = {"t256": WIDTH, "t257": HEIGHT, "t258": 8, "t259": 1, "t262": 1, "t277": 1, "t278": HEIGHT} | tags
    entries = {int(name[1:]): value if isinstance(value, tuple) else (value,) for name, value in fields.items()}
    first = 8
    offsets = [first + sum(map(len, strips[:index])) for index in range(len(strips))]
    tiled = 322 in entries
    entries |= {324 if tiled else 273: tuple(offsets), 325 if tiled else 279: tuple(map(len, strips))}
    body = b"".join(strips)
    directory = first + len(body)
    beyond = directory + 2 + 12 * len(entries) + 4
    table, more = b"", b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            packed, more = struct.pack(f"{order}I", beyond + len(more)), more + packed
        table += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    mark = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    path.write_bytes(mark + body + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + more)
    return path
