"""Users' own objects that raise: arrays whose protocol methods fail, streams, allocators and importers of a library.

Demanded for every kind of exception at every place: a typed error (or MemoryError) whose sentence names the operation,
and the next call with sound objects right.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import atrous
from atrous import interop, streams


class OwnError(Exception):
    """An exception that no library knows."""


EXCEPTIONS = (ValueError, RuntimeError, BufferError, TypeError, OSError, KeyError, NotImplementedError, MemoryError, OwnError)
METHODS = ("__dlpack__", "__dlpack_device__", "__cuda_array_interface__")
#: set by `prove`: what this library's own from_dlpack raises
importer_fails = None


class Producer:
    """An array of some library, of which one method raises."""

    def __init__(self, array, method=None, exception=None):
        self.array, self.method, self.exception = array, method, exception

    def _reach(self, method):
        if self.method == method:
            raise self.exception("the user's own")

    def __dlpack_device__(self):
        self._reach("__dlpack_device__")
        return self.array.__dlpack_device__()

    def __dlpack__(self, **words):
        self._reach("__dlpack__")
        return self.array.__dlpack__(**words)


class DeviceProducer(Producer):
    """One that says it is on a device, through a property."""

    def __dlpack_device__(self):
        return (2, 0)

    @property
    def __cuda_array_interface__(self):
        self._reach("__cuda_array_interface__")
        return {}


def from_dlpack(producer):
    """Be this library's importer of results."""
    if importer_fails is not None:
        raise importer_fails("the user's own")
    return np.from_dlpack(producer)


CONVOLUTION = {"x": (1, 4, 4, 2), "weight": (3, 2, 2, 2), "bias": (3,), "scale": (3,), "residual": (1, 3, 3, 3)}
#: what a refusal is named after once the problem is made
LATE = {"l2_pool2d": "lp_pool2d"}
POOLS = ("max_pool2d", "avg_pool2d", "lp_pool2d", "l2_pool2d", "rms_pool2d", "weighted_avg_pool2d")


def operands(names):
    return {name: Producer(np.ones(CONVOLUTION[name], "f4")) for name in names}


def doors():
    """Yield (operation, names of the operands, function of the operands)."""
    yield "conv2d", tuple(CONVOLUTION), lambda given: atrous.conv2d(**given)
    yield "conv2d", ("x", "weight", "out"), lambda given: atrous.conv2d(**given)
    yield "plan_conv2d", ("weight", "bias", "scale"), lambda given: atrous.plan_conv2d((1, 4, 4, 2), **given)
    weight = Producer(np.ones((3, 2, 2, 2), "f4"))
    plan = atrous.plan_conv2d((1, 4, 4, 2), weight)
    yield "conv2d", ("x", "out"), lambda given: plan(**given)
    added = atrous.plan_conv2d((1, 4, 4, 2), weight, residual=True)
    yield "conv2d", ("x", "residual"), lambda given: added(**given)
    for name in POOLS:
        yield name, ("x", "pooled"), lambda given, name=name: getattr(atrous, name)(given["x"], 2, out=given["pooled"])
        yield name, ("x",), lambda given, name=name: getattr(atrous, name)(given["x"], 2)


def fresh(names):
    shapes = CONVOLUTION | {"out": (1, 3, 3, 3), "pooled": (1, 2, 2, 2)}
    return {name: Producer(np.ones(shapes[name], "f4")) for name in names}


def array_faults():
    """Yield (what, operation, failing call, sound call) for every array position."""
    for operation, names, function in doors():
        for name in names:
            for method in METHODS:
                kind = DeviceProducer if method == "__cuda_array_interface__" else Producer
                for exception in EXCEPTIONS:
                    given = fresh(names)
                    given[name] = kind(given[name].array, method, exception)
                    what = f"{operation}: {name}.{method} raises {exception.__name__}"
                    yield what, operation, lambda function=function, given=given: function(given), lambda function=function, names=names: function(fresh(names))


def stream_faults():
    """Yield the same for streams, on a device that is never reached."""
    for operation, _, _ in doors():
        for exception in EXCEPTIONS:

            def raising(exception=exception):
                raise exception("the user's own")

            stream = SimpleNamespace(__cuda_stream__=raising)
            yield (
                f"{operation}: stream raises {exception.__name__}",
                "stream",
                lambda stream=stream: streams.stream_pointer("stream", stream),
                lambda: streams.stream_pointer("stream", 7),
            )


def library_faults(patch):
    """Yield the same for what the library of x does for a call: outputs, copies, tables and the import of results."""
    for operation, names, function in doors():
        for place in ("empty", "copy", "constant", "result"):
            for exception in EXCEPTIONS if place == "result" else (MemoryError,):

                def fail(function=function, names=names, place=place, exception=exception):
                    with patch.context() as inner:
                        if place == "result":
                            inner.setattr(sys.modules[__name__], "importer_fails", exception)
                        else:
                            inner.setattr(interop.Library, place, lambda *given: (_ for _ in ()).throw(exception("the user's own")))
                        return function(fresh(names))

                yield f"{operation}: {place} raises {exception.__name__}", operation, fail, lambda function=function, names=names: function(fresh(names))


def plain(result):
    """Return a result as something to compare."""
    if isinstance(result, (atrous.Plan, int)):
        return repr(result)
    return np.asarray(result.array if isinstance(result, Producer) else result).tobytes()


def prove():
    """Return the tally of every fault here."""
    tally = SimpleNamespace(faults=0, wrong=[], errors=Counter())
    with pytest.MonkeyPatch.context() as patch:
        for what, operation, fail, sound in (*array_faults(), *stream_faults(), *library_faults(patch)):
            right = plain(sound())
            try:
                fail()
            except Exception as failure:
                tally.errors[type(failure).__name__] += 1
                if not isinstance(failure, atrous.AtrousError):
                    tally.wrong.append(f"{what}: {type(failure).__name__}: {failure}")
                elif not str(failure).startswith((f"[{operation}] ", f"[{LATE.get(operation)}] ")):
                    tally.wrong.append(f"{what}: {failure}")
                tally.faults += 1
            if plain(sound()) != right:
                tally.wrong.append(f"{what}: the next call is wrong")
    return tally
