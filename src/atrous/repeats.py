"""What functional calls remember: arrays of forms and words of types that were checked once, and the launch that served them.

A remembered call holds no array and no packed weight. Everything a check asked of an array but its address is part of
what is looked up; what depends on addresses (alignment, memory that out shares) is asked at every call, and whatever is
not plainly as before goes the whole way again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from . import config
from .interop import Library, numpy_dtype
from .kernels.base import MOST_ALIGNMENT, alignment_of
from .operands import Operands
from .overlap import byte_range
from .problem import Conv2dProblem
from .recall import ADDRESSES, FORMS
from .requests import PLAIN, types_of
from .routes import Route, route, strides_of
from .sequence import Bound, Memory
from .streams import stream_pointer

MOST_CALLS = 1024
#: the operands of a convolution in the order in which calls bring them
NAMES = ("x", "weight", "scale", "bias", "residual", "y")
Arrays = tuple[Any, Any, Any, Any, Any, Any]

#: type of arrays that a remembered call had -> their library
_libraries: dict[type, Library] = {}
_calls: dict[Hashable, Call] = {}


class Call:
    """A checked call: its route, and what the addresses of operands of these forms must satisfy."""

    __slots__ = ("_bounds", "_library", "_present", "_route", "_sizes", "_spans", "_x")

    def __init__(self, library: Library, bound: Route, given: Operands) -> None:
        self._library, self._route = library, bound
        self._x = replace(given["x"], array=None)
        self._present = tuple(name for name in NAMES if name in given)
        self._sizes = [numpy_dtype(given[name].dtype).itemsize for name in self._present]
        ranges = [(byte_range(given[name], size), given[name].pointer) for name, size in zip(self._present, self._sizes)]
        self._spans = [(low - pointer, high - pointer) for (low, high), pointer in ranges]
        self._bounds: dict[tuple[int, int], tuple[Bound, tuple[int, ...]]] = {}
        self.learn(given)

    def learn(self, given: Operands) -> None:
        """Remember the launch for operands of these forms at addresses of this alignment."""
        bound = self._route.bound(strides_of(self._route.problem, given))
        order = tuple(self._present.index(name) if name in self._present else -1 for name in bound.whole[1])
        self._bounds[alignment_of(given["x"].pointer), alignment_of(given["weight"].pointer)] = bound, order

    def run(self, arrays: Arrays, stream: Any) -> Any:
        """Launch and return y, or return None if these arrays must be looked at again."""
        library, problem = self._library, self._route.problem
        if (stream is not None and self._x.device == "cpu") or not library.is_current(self._x):
            return None
        address = ADDRESSES[library.name]
        pointers = [address(array) for array in arrays if array is not None]
        for pointer, size in zip(pointers, self._sizes):
            if pointer % size:
                return None
        x, weight = pointers[0] | MOST_ALIGNMENT, pointers[1] | MOST_ALIGNMENT
        found = self._bounds.get((x & -x, weight & -weight))
        if found is None:
            return None
        y = arrays[5]
        if y is None:
            y = library.empty(problem.y_shape, problem.out_dtype, self._x)
            pointers.append(address(y))
        elif self._may_share(pointers):
            return None
        handle = library.stream(self._x) if stream is None else stream_pointer("conv2d", stream)
        bound, order = found
        if bound.has_scratch:
            self._run_with_scratch(bound, pointers, handle)
        else:
            pointers.append(0)  # of an operand that is absent
            bound.whole[0].run(tuple([pointers[place] for place in order]), handle)
        return y

    def _run_with_scratch(self, bound: Bound, pointers: list[int], handle: int) -> None:
        memory, places = Memory(), dict(zip(self._present, pointers))  # held until the last launch is on its stream
        with self._library.on(self._x, handle):
            (prepared, slots), scratch = memory.serve(bound, self._library, self._x)
        places |= scratch
        prepared.run(tuple([places.get(name, 0) for name in slots]), handle)

    def _may_share(self, pointers: list[int]) -> bool:
        """Return whether y, the last, may share memory with another operand; those that only interlock may too."""
        first, last = pointers[-1] + self._spans[-1][0], pointers[-1] + self._spans[-1][1]
        return any(pointer + low < last and first < pointer + high for pointer, (low, high) in zip(pointers[:-1], self._spans))


def forget() -> None:
    """Drop everything that is remembered."""
    _calls.clear()
    _libraries.clear()


def _key(library: Library, arrays: Arrays, words: tuple[Any, ...]) -> Hashable:
    """Return all that decides a call but addresses, or None where arrays are of several types or a word can change."""
    types = types_of(words)
    if not PLAIN.issuperset(types):
        return None
    kind, form = type(arrays[0]), FORMS[library.name]
    forms = [None if array is None else form(array) if type(array) is kind else kind for array in arrays]
    return None if kind in forms else (kind, *forms, words, types)


def again(arrays: Arrays, words: tuple[Any, ...], stream: Any) -> Any:
    """Return y of a call like one that was remembered, launched; None if there is none, and the call is to be checked."""
    library = _libraries.get(type(arrays[0]))
    if library is None:
        return None
    key = _key(library, arrays, words if words[-2] is not None else (*words, config.forced_engine()))
    call = None if key is None else _calls.get(key)
    return None if call is None else call.run(arrays, stream)


def keep(library: Library, problem: Conv2dProblem, arrays: Arrays, given_y: bool, words: tuple[Any, ...], inputs: Operands) -> None:
    """Remember a call that has just been checked and run, with y the last of its arrays, whether the caller gave it or not.

    The last two words are the engine and the kernel that were asked for.
    """
    if library.name not in FORMS or 0 in problem.y_shape:
        return
    if any(array is not None and inputs[name].array is not array for name, array in zip(NAMES[:5], arrays)):
        return  # a bias or scale that was copied, or an array read through a view: the operand is of another form
    engine, kernel = words[-2:]
    forced = config.forced_engine()
    bound = route(problem, inputs["x"].device, engine, kernel, forced)
    if bound.kernel is None:
        return
    key = _key(library, arrays if given_y else (*arrays[:5], None), words if engine is not None else (*words, forced))
    if key is None:
        return
    _libraries[type(arrays[0])] = library
    given = {**inputs, "y": library.operand("conv2d", "out", arrays[5])}
    known = _calls.get(key)
    if known is not None:
        known.learn(given)
        return
    if len(_calls) >= MOST_CALLS:
        _calls.clear()
    _calls[key] = Call(library, bound, given)
