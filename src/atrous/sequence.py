"""Sequences: a launch with those before and after it, bound to an engine, and the memory that they share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from .interop import Library, Operand
from .launch import PACKED, Launch

log = logging.getLogger("atrous")

#: what the address of every scratch operand is a multiple of
SCRATCH_ALIGNMENT = 256
#: name -> address of scratch
Places = dict[str, int]


class Chain:
    """Bound launches that run one after another on one stream, called as one launch is."""

    def __init__(self, parts: Sequence[tuple[Any, tuple[str, ...]]]) -> None:
        self._parts = []
        end = 0
        for prepared, slots in parts:
            start, end = end, end + len(slots)
            self._parts.append((prepared, start, end))

    def run(self, pointers: tuple[int, ...], stream: int, *schedule: Any) -> None:
        """Run all; `pointers` holds the slots of the first launch, then those of the next, and so on."""
        for prepared, start, end in self._parts:
            prepared.run(pointers[start:end], stream, *schedule)


#: something with `run(pointers, stream)`, and the operand or scratch of each of its slots
Runnable = tuple[Any, tuple[str, ...]]


def chain(parts: Sequence[Runnable]) -> Runnable:
    """Return launches as one; a single one as it is, so that it costs what it costs alone."""
    if len(parts) == 1:
        return parts[0]
    return Chain(parts), tuple(name for _, slots in parts for name in slots)


class Bound:
    """A launch and those before and after it, each bound to its kernel on one engine.

    Parameters
    ----------
    launch : Launch
    prepare : callable
        prepare(Launch) of an engine.
    """

    def __init__(self, launch: Launch, prepare: Callable[[Launch], Any]) -> None:
        scratch = scratch_of(launch)
        self.before = launch.before
        self.packed = {name: size for name, size in scratch.items() if name.startswith(PACKED)}
        self.workspace = {name: size for name, size in scratch.items() if not name.startswith(PACKED)}
        self.has_scratch = bool(scratch)
        parts = [(prepare(part), part.pointers) for part in launch.sequence]
        first = len(launch.before)
        self.packing = chain(parts[:first]) if first else None
        self.rest = chain(parts[first:])
        self.whole = chain(parts)


def scratch_of(launch: Launch) -> dict[str, int]:
    """Return the name and bytes of all scratch of a sequence."""
    return {name: size for part in launch.sequence for name, size in part.scratch}


def placed(sizes: dict[str, int], base: int = 0) -> tuple[Places, int]:
    """Return an address for each name from the first suitable one at `base` on, and how many bytes hold them wherever they begin."""
    pointers, begin = {}, base + -base % SCRATCH_ALIGNMENT
    end = begin
    for name, size in sizes.items():
        pointers[name] = end
        end += size + -size % SCRATCH_ALIGNMENT
    return pointers, end - begin + SCRATCH_ALIGNMENT - 1


class Buffer:
    """Uninitialised memory of an array library, for scratch of one sequence at a time."""

    def __init__(self, library: Library, size: int, like: Operand) -> None:
        self.size = size
        self._held = library.made("scratch", library.empty((size,), "uint8", like), like)

    def pointers(self, sizes: dict[str, int]) -> Places:
        """Return where each scratch operand lies."""
        return placed(sizes, self._held.pointer)[0]


class Memory:
    """What a plan, or one call of a function, holds for sequences: packed operands and workspace.

    Packed operands are made by `pack`, once; a sequence whose packed operands are not held packs in every call, into
    memory of that call's kind. Nothing is ever freed before the whole is, since a captured graph may still write to it.

    Parameters
    ----------
    shared : Memory, optional
        Of a plan with the same weight: its packed operands serve here too.
    """

    def __init__(self, shared: Memory | None = None) -> None:
        self._packed: dict[Any, tuple[Buffer, Places, int]] = shared._packed if shared else {}
        self._used: set[Any] = set()
        self._workspace: dict[str, list[Buffer]] = {}

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed operands that sequences of this plan read."""
        return sum(self._packed[key][2] for key in self._used)

    @property
    def workspace_bytes(self) -> int:
        """Bytes of workspace held."""
        return sum(buffer.size for buffers in self._workspace.values() for buffer in buffers)

    def pack(self, bound: Bound, library: Library, given: dict[str, Operand], like: Operand, stream: int) -> None:
        """Make the packed operands of a sequence unless they are held, and hold workspace for it."""
        if bound.packing is not None:
            key = packed_key(bound)
            if key not in self._packed:
                buffer = Buffer(library, placed(bound.packed)[1], like)
                found = buffer.pointers(bound.packed)
                prepared, slots = bound.packing
                prepared.run(filled(slots, given, found), stream)
                self._packed[key] = buffer, found, sum(bound.packed.values())
            self._used.add(key)
        if bound.workspace:
            self._room(bound.workspace, library, like)

    def serve(self, bound: Bound, library: Library, like: Operand) -> tuple[Runnable, Places]:
        """Return what to run for a sequence and where its scratch lies; allocates where nothing held is large enough."""
        held = self._packed.get(packed_key(bound)) if bound.packed else None
        if held is None:
            return bound.whole, self._room({**bound.packed, **bound.workspace}, library, like)
        workspace = self._room(bound.workspace, library, like) if bound.workspace else {}
        return bound.rest, {**held[1], **workspace}

    def _room(self, sizes: dict[str, int], library: Library, like: Operand) -> Places:
        size = placed(sizes)[1]
        buffers = self._workspace.setdefault(like.device, [])
        room = next((buffer for buffer in buffers if buffer.size >= size), None)
        if room is None:
            log.debug("workspace of %d bytes on %s for %s", size, like.device, ", ".join(sizes))
            room = Buffer(library, size, like)
            buffers.append(room)
        return room.pointers(sizes)


def packed_key(bound: Bound) -> Any:
    """Return what tells the packed operands of one weight apart: the launches that make them, and their sizes."""
    return bound.before, tuple(bound.packed.items())


def filled(slots: tuple[str, ...], given: dict[str, Operand], scratch: Places) -> tuple[int, ...]:
    """Return a pointer for each slot; 0 for an operand that is absent."""
    return tuple(scratch[name] if name in scratch else given[name].pointer if name in given else 0 for name in slots)
