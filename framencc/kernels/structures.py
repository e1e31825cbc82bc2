"""Named values that a kernel takes by one address.

Numba passes a named tuple as its items, and an array as seven numbers or more; what a band takes would be hundreds of
arguments, unpacked and passed on by every kernel on the way, which costs seconds of compiling. A `Structure` is one
argument. Kernels read its fields as attributes, and nothing else: they are numbers, None, or arrays, which a kernel
sees as writable C-contiguous arrays that nobody counts references to. Whoever calls a kernel keeps the structure.
"""

import dataclasses
import functools
import struct
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    unbox,
)
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype

_WORD = ir.IntType(64)
_NUMBERS = {
    bool: ("?7x", types.boolean),
    int: ("q", types.int64),
    float: ("d", types.float64),
    np.int64: ("q", types.int64),
    np.float32: ("f4x", types.float32),
    np.float64: ("d", types.float64),
}


class StructureType(types.Type):  # type: ignore[misc]
    """The type of a structure: each field's name, type and place, in words."""

    def __init__(self, class_name: str, fields: tuple[tuple[str, types.Type], ...]) -> None:
        self.places, place = {}, 0
        for field, kind in fields:
            self.places[field] = kind, place
            place += 1 + kind.ndim if isinstance(kind, types.Array) else kind != types.none
        super().__init__(f"{class_name}({', '.join(f'{field}: {kind}' for field, kind in fields)})")


class Structure:
    """The base of frozen dataclasses whose fields are arrays, numbers (bool, int, float, float32) or None."""

    def __post_init__(self) -> None:
        kinds: list[tuple[str, Any]] = []
        data = []
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise ValueError(f"{type(self).__name__}.{name} is not C-contiguous")
                kinds.append((name, (value.dtype, value.ndim)))
                data.append(struct.pack(f"={1 + value.ndim}q", value.__array_interface__["data"][0], *value.shape))
            else:
                kinds.append((name, type(value)))
                if value is not None:
                    data.append(struct.pack(f"={_NUMBERS[type(value)][0]}", value))
        memory = np.frombuffer(b"".join(data), np.int64).copy()
        vars(self).update(
            _memory=memory, address=memory.ctypes.data, _numba_type_=_type_of(type(self).__name__, tuple(kinds))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Make a copy anew: it has an address of its own."""
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]


@functools.cache
def _type_of(class_name: str, kinds: tuple[tuple[str, Any], ...]) -> StructureType:
    fields = []
    for name, kind in kinds:
        if isinstance(kind, tuple):
            fields.append((name, types.Array(from_dtype(kind[0]), kind[1], "C")))
        else:
            fields.append((name, types.none if kind is type(None) else _NUMBERS[kind][1]))
    return StructureType(class_name, tuple(fields))


@register_model(StructureType)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WORD.as_pointer())


@unbox(StructureType)
def _unbox(_, value, c):
    address = c.pyapi.object_getattr_string(value, "address")
    number = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.inttoptr(number, _WORD.as_pointer()))


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = StructureType

    def generic_resolve(self, kind, attribute):
        return kind.places.get(attribute, (None, 0))[0]


@lower_getattr_generic(StructureType)
def _read(context, builder, structure, value, attribute):
    kind, place = structure.places[attribute]

    def word(index, as_type):
        address = builder.bitcast(cgutils.gep_inbounds(builder, value, place + index), as_type.as_pointer())
        loaded = builder.load(address)
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded

    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder)
        shape = [word(1 + i, _WORD) for i in range(kind.ndim)]
        itemsize = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
        strides = [itemsize]
        for size in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], size))
        populate_array(array, word(0, array.data.type), shape, strides, itemsize, meminfo=None)
        return array._getvalue()
    if kind == types.none:
        return context.get_dummy_value()
    return context.data_model_manager[kind].from_data(builder, word(0, context.get_data_type(kind)))
