"""The hot loops are vector code: what makes them fast can be lost by a change that no other test notices."""

import json
import re
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest
from machine_code import HotLoop, innermost_loops, readable, unknown_processor
from running import python

_PROBLEM = unknown_processor()
known_processor = pytest.mark.skipif(_PROBLEM is not None, reason=f"unknown machine code: {_PROBLEM}")

# A row for each loop that the time goes into, and the kernel in whose code it lies. Code of a kernel that is called by
# name is its own; code of any other that a kernel calls is also part of the caller's.
# `python tests/test_machine_code.py` lists the loops of every kernel that PROGRAM compiles.
_WIDENED = ("vpmuldq", "vpmuludq", "vpmullq")  # 32-bit arithmetic that became 64-bit arithmetic
HOT_LOOPS = (
    HotLoop(
        "window_sums._slide",
        "column sums of products of bytes",
        has=("vpmovzxb[wd]", "vpmaddwd", "vpaddd"),
        lacks=_WIDENED,
        signature="uint8.*int32",
    ),
    HotLoop("window_sums._sum3", "row sums", has=("vpaddd",), lacks=("vpaddq",), signature="int32"),
    HotLoop(
        "coefficients.correlate_row",
        "root and quotient of bytes' sums",
        has=("vpmulld", "vcvtdq2ps", "vsqrtps", "vdivps"),
        lacks=_WIDENED,
        signature=r"\(Tuple\(\(int32\*",
    ),
    HotLoop(
        "window_sums._slide",
        "column sums of products of 16-bit codes",
        has=("vpmovzxw[dq]", "vcvtdq2pd", "vmulpd|vfn?m(add|sub)", "vaddpd"),
        signature="uint16",
    ),
    HotLoop(
        "coefficients.correlate_row",
        "root and quotient of 16-bit codes' sums",
        has=("vmulpd", "vcvtpd2ps", "vsqrtps", "vdivps"),
        signature=r"\(Tuple\(\(float64\*.*UniTuple\(float32",
    ),
    HotLoop(
        "window_sums._slide", "column sums of products of floats", has=("vcvtps2pd", "vmulpd"), signature="float32"
    ),
    HotLoop(
        "coefficients.correlate_row",
        "root and quotient of floats' sums",
        has=("vsqrtps", "vdivpd"),
        signature=r"\(Tuple\(\(float64\*.*UniTuple\(float64",
    ),
    HotLoop("scoring._rate", "sums and bins of a map", has=("vcvttps2dq", "vpaddd")),
    HotLoop("scoring._encode", "codes of a map", has=("vfn?m(add|sub)[0-9]*ps", "vcvttps2dq", "vcvtdq2ps")),
    HotLoop("scoring._weigh", "weights of a map", has=("vmulpd", "vdivpd")),
    HotLoop("displacement._close", "forward-backward distances", has=("vdivps", "vsqrtps")),
    HotLoop("displacement._measure", "lengths of displacements", has=("vsqrtpd",)),
    HotLoop("warp_sampling._blend", "linear samples of bytes", has=("vmulps", "vcvttps2dq"), signature="uint8.*uint16"),
)

# What is to be compiled, through the public interface; then the assembly of every kernel, by its name and types. A
# kernel may be compiled twice for the same types, to be called by Python and by other kernels.
PROGRAM = """
import collections, json, sys
from numba.core.dispatcher import Dispatcher
import numpy as np
found, add = collections.defaultdict(str), Dispatcher.add_overload
def keep(self, compiled):
    function = self.py_func
    if function.__module__.startswith("framencc.kernels."):
        name = f"{function.__module__.removeprefix('framencc.kernels.')}.{function.__qualname__}"
        found[f"{name}{compiled.signature.args}"] += compiled.library.get_asm_str()
    return add(self, compiled)
Dispatcher.add_overload = keep
import framencc
from framencc import render, sampling, scores
from framencc.warps.base import field_statistics
picture = np.random.default_rng(0).integers(0, 256, (96, 256), dtype=np.uint8)
for one in (picture, picture.astype(np.uint16) * 257, picture.astype(np.float32)):
    framencc.Reference(one, 3, threads=1).ncc(one)
rho, validity = framencc.Reference(picture, 3).ncc(picture, return_validity=True)
scores.Scorer(picture.shape, picture[None]).score(rho, validity, picture[None])
render.weigh(rho, validity, np.ones_like(rho), 2.0)
render.encode(rho, "clip")
field = np.zeros((*picture.shape, 2), np.float32)
field_statistics(field, 1, np.empty_like(rho), backward=field)
sampling.Sampler().sample(picture[None], field)
with open(sys.argv[1], "w") as out:
    json.dump(found, out)
"""


def compiled(folder: Path) -> dict[str, str]:
    """Return the assembly of the package's kernels, which must be compiled for it: a cache holds none."""
    target = folder / "assembly.json"
    result = python(PROGRAM, target, FRAMENCC_CACHE="0")
    assert result.returncode == 0, result.stderr
    return json.loads(target.read_text())


def loops_of(assembly: str):
    """Return the loops that a call runs; those in "cpython." unpack its arguments."""
    return [loop for loop in innermost_loops(assembly) if not loop.function.startswith(("cpython", "cfunc"))]


def missing(hot: HotLoop, assemblies: dict[str, str]) -> list[str]:
    """Say which compiled variants lack a loop, and which loops they have; the loop must be asked for by some name."""
    variants = {
        name: loops_of(assembly)
        for name, assembly in assemblies.items()
        if re.fullmatch(rf"{hot.kernel}\(.*\)", name, re.DOTALL) and re.search(hot.signature, name)
    }
    if not variants:
        return [f"{hot.kernel}: no such kernel was compiled (signature {hot.signature!r})"]
    return [
        "\n  ".join([f"{name}: no vector code for {hot.what}; its innermost loops:", *map(str, loops)])
        for name, loops in variants.items()
        if not hot.found_in(loops)
    ]


@pytest.mark.slow
@known_processor
def test_every_hot_loop_is_vector_code(tmp_path: Path):
    assemblies = compiled(tmp_path)
    problems = [problem for hot in HOT_LOOPS if hot.is_expected for problem in missing(hot, assemblies)]
    assert not problems, "\n".join(problems)


@numba.njit(error_model="numpy")
def quotients(sums, squares, out):
    for x in range(out.size):
        out[x] = sums[x] / np.sqrt(squares[x])


@numba.njit(error_model="numpy")
def chained_quotients(sums, squares, out):
    """The same with a value that the next one waits for, which no compiler can turn into vector code."""
    last = np.float32(0)
    for x in range(out.size):
        last = sums[x] / np.sqrt(squares[x] + last)
        out[x] = last


@numba.njit(parallel=True, error_model="numpy")
def shared_quotients(sums, squares, out):
    """A shell, whose loop lies in the function that it calls for every band."""
    for band in numba.prange(2):
        quotients(sums[band], squares[band], out[band])


def assembly_of(function, rows: int = 0) -> dict[str, str]:
    shape = (rows, 64) if rows else (64,)
    given = np.ones(shape, np.float32), np.ones(shape, np.float32), np.empty(shape, np.float32)
    function(*given)
    return {f"{function.__name__}{types}": text for types, text in function.inspect_asm().items()}


@known_processor
def test_a_loop_that_is_vector_code_is_found_and_one_that_is_not_is_told_of():
    root = HotLoop("quotients", "root and quotient", has=("vsqrtps", "vdivps"))
    assert missing(root, assembly_of(quotients)) == []
    chained = HotLoop("chained_quotients", "root and quotient", has=("vsqrtps", "vdivps"))
    (problem,) = missing(chained, assembly_of(chained_quotients))
    assert "no vector code for root and quotient" in problem
    assert "no wide vectors" in problem


@known_processor
def test_a_loop_is_found_in_what_a_parallel_shell_calls():
    root = HotLoop("shared_quotients", "root and quotient", has=("vsqrtps", "vdivps"))
    assert missing(root, assembly_of(shared_quotients, rows=2)) == []


@known_processor
def test_what_a_loop_must_lack_counts():
    assemblies = assembly_of(quotients)
    assert missing(HotLoop("quotients", "a root", has=("vsqrtps",), lacks=("vpmuldq",)), assemblies) == []
    assert missing(HotLoop("quotients", "a root", has=("vsqrtps",), lacks=("vdivps",)), assemblies)


@known_processor
def test_a_kernel_or_signature_that_is_not_there_is_told_of():
    assemblies = assembly_of(quotients)
    for hot in (HotLoop("quotient", "a root", has=()), HotLoop("quotients", "a root", has=(), signature="uint8")):
        (problem,) = missing(hot, assemblies)
        assert "no such kernel was compiled" in problem


def test_loops_in_assembly_text():
    text = """
_ZN6module3sumB2v1E5ArrayE:
\t.cfi_startproc
\txorl\t%eax, %eax
.LBB0_1:
\tmovq\t%rcx, %rdx
.LBB0_2:
\tvpaddd\t(%rdi,%rdx), %ymm0, %ymm0
\tvpmaddwd\t%xmm1, %xmm2, %xmm3
\tincq\t%rdx
\tjne\t.LBB0_2
\tjne\t.LBB0_1
\tretq
other:
.LBB1_1:
\tvaddss\t%xmm0, %xmm1, %xmm1
\tjmp\t.LBB1_1
"""
    first, second = innermost_loops(text)
    assert (first.function, second.function) == ("module.sum", "other")
    assert [one.mnemonic for one in first.instructions] == ["vpaddd", "vpmaddwd", "incq", "jne"]
    assert first.has("vpaddd|vpaddq")
    assert not first.has("vpmaddwd")
    assert first.has("vpmaddwd", wide=False)
    assert not first.has("vpadd")
    assert [one.is_wide for one in second.instructions] == [False, False]
    assert readable("_ZN11integer_ncc4sumsB2v1E") == "integer_ncc.sums"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for kernel, text in compiled(Path(folder)).items():
            sys.stdout.write("\n  ".join([kernel, *map(str, loops_of(text))]) + "\n")
