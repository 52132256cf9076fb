"""What a plan remembers of arrays it has checked once: a later call looks at their form and address, and launches."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from .interop import Library, Operand, numpy_dtype
from .kernels.base import MOST_ALIGNMENT, alignment_of
from .overlap import byte_range
from .streams import stream_pointer

#: library -> all that a check asks of an array but its address
FORMS: dict[str, Callable[[Any], Hashable]] = {
    "NumPy": lambda array: (array.shape, array.strides, array.dtype, array.flags.writeable),
    "CuPy": lambda array: (array.shape, array.strides, array.dtype, array.device.id),
}
ADDRESSES: dict[str, Callable[[Any], int]] = {
    "NumPy": lambda array: int(array.ctypes.data),
    "CuPy": lambda array: int(array.data.ptr),
}


class _Call:
    """One checked pair of forms, and alignment of x: what was bound for them, and what two addresses must satisfy."""

    __slots__ = ("low_bits", "mask", "more_slots", "out_size", "pointers", "prepared", "slots", "spans", "x")

    def __init__(self, prepared: Any, names: tuple[str, ...], pointers: tuple[int, ...], x: Operand, out: Operand) -> None:
        self.prepared = prepared
        self.pointers = list(pointers)
        self.slots = names.index("x"), names.index("y")
        self.more_slots = tuple((slot, name == "y") for slot, name in enumerate(names) if name in ("x", "y") and slot not in self.slots)
        self.x = replace(x, array=None)  # a plan keeps no array of a call alive
        sizes = [numpy_dtype(operand.dtype).itemsize for operand in (x, out)]
        alignment = alignment_of(x.pointer)
        # of an address that is a multiple of this alignment and of no greater one that a launch could be made for
        self.mask, self.low_bits = (alignment - 1, 0) if alignment == MOST_ALIGNMENT else (2 * alignment - 1, alignment)
        self.out_size = sizes[1]
        self.spans = [tuple(end - operand.pointer for end in byte_range(operand, size)) for operand, size in zip((x, out), sizes)]

    def fits(self, source: int, target: int) -> bool:
        """Return whether x and out, of the known forms, share no memory at these addresses, and out is aligned."""
        if target % self.out_size:
            return False
        (low, high), (first, last) = self.spans
        return source + high <= target + first or target + last <= source + low


class Recall:
    """The calls `plan(x, out=y)` that one plan has checked."""

    def __init__(self) -> None:
        self._kind: type | None = None
        self._library = Library()
        self._calls: dict[Hashable, _Call] = {}

    def run(self, x: Any, out: Any, stream: Any) -> bool:
        """Launch if arrays of these forms were checked before, and return whether they were."""
        if self._kind is None or type(x) is not self._kind or type(out) is not self._kind:
            return False
        library = self._library
        form, address = FORMS[library.name], ADDRESSES[library.name]
        forms = form(x), form(out)
        call = self._calls.get(forms)
        if call is None:
            return False
        source, target = address(x), address(out)
        if source & call.mask != call.low_bits:
            call = self._calls.get((forms, alignment_of(source)))
            if call is None:
                return False
        if not call.fits(source, target) or not library.is_current(call.x) or (stream is not None and call.x.device == "cpu"):
            return False
        handle = library.stream(call.x) if stream is None else stream_pointer("plan", stream)
        pointers = call.pointers.copy()
        pointers[call.slots[0]], pointers[call.slots[1]] = source, target
        for slot, is_target in call.more_slots:
            pointers[slot] = target if is_target else source
        call.prepared.run(tuple(pointers), handle)
        return True

    def keep(
        self, library: Library, x: Any, out: Any, prepared: Any, names: tuple[str, ...], pointers: tuple[int, ...], operands: tuple[Operand, Operand]
    ) -> None:
        """Remember a call that has just been checked and run."""
        if library.name not in FORMS or type(x) is not type(out):
            return
        if self._kind is not type(x):
            self._kind, self._library, self._calls = type(x), library, {}
        form = FORMS[library.name]
        forms = form(x), form(out)
        # found by the forms alone where only one alignment is met, which is one look less
        self._calls[forms] = self._calls[forms, alignment_of(operands[0].pointer)] = _Call(prepared, names, pointers, *operands)
