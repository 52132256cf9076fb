"""The compiled module behind the simulator's fake CUDA runtime: loading it, its controls, and memory of the fake device.

What it shows: which calls are made, how often and in which order; that every one of them may fail; that a capture sees
no allocation and no wait; that memory stays within its bounds. What it cannot show is what a real driver does: when an
asynchronous fault surfaces, what else a capture forbids, lost contexts, several threads at once, and time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.machinery
import importlib.util
import weakref

import numpy as np

OUT_OF_MEMORY, INVALID_VALUE, ILLEGAL_ADDRESS, UNKNOWN = 2, 1, 700, 999


@functools.cache
def library():
    """Return (the module `atrous._cuda` of the fake, its controls), or (None, None) without a simulator."""
    if importlib.util.find_spec("atrous._sim") is None:
        return None, None
    path = importlib.import_module("atrous._sim").__file__
    controls = ctypes.CDLL(path)
    if not hasattr(controls, "atrous_fake_reset"):
        return None, None
    for name in ("call", "failure", "name"):
        getattr(controls, f"atrous_fake_{name}").restype = ctypes.c_char_p
    for name in ("calls", "damaged"):
        getattr(controls, f"atrous_fake_{name}").restype = ctypes.c_long
    controls.atrous_fake_live_bytes.restype = ctypes.c_size_t
    # A name of its own: pybind11 gives every module of one name the first that was made.
    name = "fake._cuda"
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, path, loader=loader))
    loader.exec_module(module)
    return module, controls


class RuntimeFailure(RuntimeError):
    """What CuPy raises for a failed call."""


RuntimeFailure.__module__ = "cupy_backends.cuda.api.runtime"


class OutOfMemoryError(MemoryError):
    """What CuPy's memory pool raises."""


OutOfMemoryError.__module__ = "cupy.cuda.memory"


class Device:
    """The fake runtime as tests use it."""

    def __init__(self, devices=1):
        self.module, self._controls = library()
        self._call("reset", devices)

    def _call(self, name, *arguments):
        return getattr(self._controls, f"atrous_fake_{name}")(*arguments)

    # ---- faults

    def fail(self, n, error=UNKNOWN, later=False):
        """Make the n-th numbered call from now give this error; later: this and every call after it, until `reset`."""
        self._call("fail", ctypes.c_long(n), error, later)

    def reset(self, devices=1):
        self._call("reset", devices)

    @contextlib.contextmanager
    def counted(self):
        """Yield a list that holds, at the end, the names of the calls made meanwhile."""
        names, first = [], self._call("calls")
        yield names
        names += [self._call("call", ctypes.c_long(n)).decode() for n in range(first + 1, self._call("calls") + 1)]

    def calls(self):
        return self._call("calls")

    def left_error(self):
        """Return the error that the next library would find on the thread's record."""
        return self._call("left_error")

    def failure(self):
        return self._call("failure").decode()

    def check(self, status, failure=RuntimeFailure):
        """Raise as CuPy does unless the status is 0."""
        if status:
            text = "out of memory" if status == OUT_OF_MEMORY else f"error {status}"
            raise failure(f"{self._call('name', status).decode()}: {text}")

    def enter(self, name, unsafe=False, failure=RuntimeFailure):
        """Make a numbered call of a library above the runtime."""
        self.check(self._call("enter", name.encode(), unsafe), failure)

    # ---- memory

    def allocate(self, nbytes):
        """Return a byte array of device memory, freed with its last view."""
        pointer = ctypes.c_void_p()
        self.check(self._call("allocate", ctypes.byref(pointer), ctypes.c_size_t(nbytes)), OutOfMemoryError)
        owner = (ctypes.c_ubyte * nbytes).from_address(pointer.value)
        weakref.finalize(owner, self._call, "free", ctypes.c_void_p(pointer.value))
        return np.frombuffer(owner, np.uint8)

    @property
    def live_bytes(self):
        return self._call("live_bytes")

    @property
    def damaged(self):
        """Allocations that were written beyond their ends."""
        return self._call("damaged")

    # ---- devices, streams, launches

    def get_device(self):
        device = ctypes.c_int()
        self.check(self._call("get_device", ctypes.byref(device)))
        return device.value

    def set_device(self, device):
        self.check(self._call("set_device", device))

    def synchronize(self, stream=0):
        self.check(self._call("synchronize", ctypes.c_void_p(stream)))

    def launch(self, name, grid, block, shared_bytes, stream, parameters, failure=RuntimeFailure):
        shape = (ctypes.c_uint * 6)(*grid, *block)
        sizes = ctypes.c_size_t(shared_bytes), ctypes.c_size_t(len(parameters))
        self.check(self._call("launch", name.encode(), shape, sizes[0], ctypes.c_void_p(stream), parameters, sizes[1]), failure)

    def allow_shared(self, name, nbytes, failure=RuntimeFailure):
        self.check(self._call("allow_shared", name.encode(), nbytes), failure)

    # ---- graphs

    @contextlib.contextmanager
    def capture(self, stream):
        """Capture launches on a stream; yields a list that holds the graph at the end."""
        graphs, graph = [], ctypes.c_int()
        self.check(self._call("begin_capture", ctypes.c_void_p(stream)))
        try:
            yield graphs
        finally:
            status = self._call("end_capture", ctypes.c_void_p(stream), ctypes.byref(graph))
        self.check(status)
        graphs.append(graph.value)

    def replay(self, graph):
        self.check(self._call("replay", graph))

    def graph_launches(self, graph):
        return self._call("graph_launches", graph)
