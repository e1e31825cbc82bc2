"""The byte-wise compressions of TIFF, undone into a buffer of a given size, never beyond it."""

import numpy as np

from framencc.kernels.compilation import kernel

DAMAGED = -1

_CLEAR, _END, _FIRST = 256, 257, 258
_N_CODES = 4096


@kernel()
def unpack_lzw(packed, out):
    """Undo LZW (TIFF 6.0, section 13) from packed to out, both uint8; return how many bytes there are.

    One more than out holds means that there are more; DAMAGED, that a code has no meaning or the end is missing.
    """
    prefix = np.empty(_N_CODES, np.int32)
    suffix = np.empty(_N_CODES, np.uint8)
    length = np.empty(_N_CODES, np.int32)
    for code in range(256):
        prefix[code], suffix[code], length[code] = -1, code, 1
    n_out, position, buffer, n_bits = 0, 0, 0, 0
    width, following, previous = 9, _FIRST, -1
    while True:
        while n_bits < width:
            if position == len(packed):
                # Some writers leave the end code out.
                return n_out if n_out >= len(out) else DAMAGED
            buffer = ((buffer << 8) | np.int64(packed[position])) & 0xFFFFFF
            position += 1
            n_bits += 8
        n_bits -= width
        code = (buffer >> n_bits) & ((1 << width) - 1)
        if code == _END:
            return n_out
        if code == _CLEAR:
            width, following, previous = 9, _FIRST, -1
            continue
        if previous < 0:
            if code > 255:
                return DAMAGED
        elif code > following or following > _N_CODES:
            return DAMAGED
        is_new = previous >= 0 and code == following
        chain = previous if is_new else code
        n = length[chain]
        if n_out + n + is_new > len(out):
            return len(out) + 1
        place, step = n_out + n - 1, chain
        while step >= 0:
            out[place] = suffix[step]
            place, step = place - 1, prefix[step]
        first = out[n_out]
        n_out += n
        if is_new:
            out[n_out] = first
            n_out += 1
        if previous >= 0 and following < _N_CODES:
            prefix[following], suffix[following], length[following] = previous, first, length[previous] + 1
            following += 1
            if following >= (1 << width) - 1 and width < 12:  # one code early, as TIFF has it
                width += 1
        previous = code


@kernel()
def unpack_bits(packed, out):
    """Undo PackBits (TIFF 6.0, section 9) from packed to out, both uint8; return as `unpack_lzw` does."""
    n_out, position = 0, 0
    while position < len(packed) and n_out < len(out):
        count = np.int64(packed[position])
        position += 1
        if count == 128:
            continue
        if count < 128:
            count += 1
            if position + count > len(packed):
                return DAMAGED
            for i in range(min(count, len(out) - n_out)):
                out[n_out + i] = packed[position + i]
            position += count
        else:
            count = 257 - count
            if position == len(packed):
                return DAMAGED
            for i in range(min(count, len(out) - n_out)):
                out[n_out + i] = packed[position]
            position += 1
        n_out += count
    return min(n_out, len(out) + 1)
