"""Views of contiguous arrays in another shape, for a handful of instructions: Numba's ``reshape`` calls a library function, 0.1 us a time.

A step of one problem takes thirty views; with ``reshape`` they were two thirds of its time.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def _view(context: Any, builder: Any, source: Any, target: Any, value: Any, shape: Any) -> Any:
    """Array of type ``target`` on the data of ``value``, with the extents ``shape``."""
    old = make_array(source)(context, builder, value)
    new = make_array(target)(context, builder)
    strides = [old.itemsize]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    populate_array(
        new,
        data=old.data,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=old.itemsize,
        meminfo=old.meminfo,
        parent=old.parent,
    )
    return impl_ret_borrowed(context, builder, target, new._getvalue())


def _is_contiguous(array: Any) -> bool:
    return isinstance(array, types.Array) and array.layout == "C"


@intrinsic
def flat(_context: Any, array: Any) -> Any:
    """All entries of a C-contiguous array as one axis."""
    if not _is_contiguous(array):
        return None
    target = array.copy(ndim=1)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        size = make_array(array)(context, builder, values[0]).nitems
        return _view(context, builder, array, target, values[0], [size])

    return target(array), codegen


@intrinsic
def rows(_context: Any, array: Any) -> Any:
    """A C-contiguous array (m, p, L) as (m, p L)."""
    if not _is_contiguous(array) or array.ndim != 3:
        return None
    target = array.copy(ndim=2)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        old = make_array(array)(context, builder, values[0])
        first, *rest = cgutils.unpack_tuple(builder, old.shape, 3)
        shape = [first, builder.mul(*rest)]
        return _view(context, builder, array, target, values[0], shape)

    return target(array), codegen


@intrinsic
def shaped(_context: Any, array: Any, like: Any) -> Any:
    """A C-contiguous array in the shape of another one with as many entries (not checked)."""
    if not (_is_contiguous(array) and _is_contiguous(like)):
        return None
    target = array.copy(ndim=like.ndim)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        other = make_array(like)(context, builder, values[1])
        shape = cgutils.unpack_tuple(builder, other.shape, like.ndim)
        return _view(context, builder, array, target, values[0], shape)

    return target(array, like), codegen


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, part in enumerate(kind.types):
            item = _without_owner(context, builder, part, builder.extract_value(value, i))
            value = builder.insert_value(value, item, i)
    return value


@intrinsic
def borrowed(_context: Any, value: Any) -> Any:
    """An array, or a (nested) tuple of arrays and numbers, whose references are not counted.

    Every call counts the references of all arrays in its arguments up and down again, two atomic operations each: half of the time of a step of one
    problem. A kernel's caller holds the arrays until it returns, so that nothing is lost.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _without_owner(context, builder, value, values[0])

    return value(value), codegen
