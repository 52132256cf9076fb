"""A stand-in for CuPy over host memory: devices, streams and arrays as atrous sees them, so that the device route runs without a GPU."""

from __future__ import annotations

import contextlib
import sys
import types

import numpy as np

DEVICES = 2


class ndarray(np.ndarray):
    """Host memory that says it is on a device."""

    def __array_finalize__(self, parent):
        self._device = getattr(parent, "_device", 0)

    @property
    def device(self):
        return types.SimpleNamespace(id=self._device)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.__array_interface__["data"][0])


ndarray.__module__ = "cupy"


class FakeCuPy(types.ModuleType):
    """The module, with a current device, a current stream a device, and a count of allocations."""

    def __init__(self):
        super().__init__("cupy")
        self.ndarray = ndarray
        self.allocations = 0
        self.current = 0
        self.streams = [7000 + device for device in range(DEVICES)]
        self.cuda = types.SimpleNamespace(
            Device=self._device,
            ExternalStream=self._stream,
            get_current_stream=lambda device=-1: types.SimpleNamespace(ptr=self.streams[self.current if device < 0 else device]),
            runtime=types.SimpleNamespace(getDevice=lambda: self.current),
            is_available=lambda: True,
        )

    @contextlib.contextmanager
    def _device(self, index):
        before, self.current = self.current, index
        try:
            yield types.SimpleNamespace(id=index, compute_capability="90")
        finally:
            self.current = before

    @contextlib.contextmanager
    def _stream(self, pointer):
        device = self.current
        before, self.streams[device] = self.streams[device], pointer
        try:
            yield
        finally:
            self.streams[device] = before

    def _made(self, array):
        self.allocations += 1
        made = array.view(ndarray)
        made._device = self.current
        return made

    def empty(self, shape, dtype):
        return self._made(np.empty(shape, dtype))

    def asarray(self, array, dtype=None):
        return array if isinstance(array, ndarray) and dtype in (None, array.dtype) else self._made(np.array(array, dtype))

    def array(self, array, order="K", copy=True):
        return self._made(np.array(np.asarray(array), order=order, copy=copy))

    def from_dlpack(self, array):
        return self._made(np.from_dlpack(array))

    def __getattr__(self, name):
        return getattr(np, name)


def install(monkeypatch):
    """Put a FakeCuPy where `import cupy` finds it, and forget libraries loaded before and after."""
    from atrous import interop

    cupy = FakeCuPy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.lib", np.lib)
    monkeypatch.setitem(sys.modules, "cupy.lib.stride_tricks", np.lib.stride_tricks)
    monkeypatch.setattr(interop, "_libraries", {"numpy": interop.library_named("numpy")})
    forget()
    return cupy


def forget():
    """Drop what plans remember of devices and routes."""
    from atrous import plan

    plan.route.cache_clear()
    plan._cuda_device.cache_clear()


def serve_compiled(monkeypatch, cupy):
    """Put the simulator in the compiled engine's place; return the list of launches: (name, device, stream) each."""
    from atrous import engines

    launches = []

    class Prepared:
        def __init__(self, launch):
            self.name, self.inner = launch.name, engines.simulated.prepare(launch)

        def run(self, pointers, stream):
            launches.append((self.name, cupy.current, stream))
            self.inner.run(pointers, 0)

    monkeypatch.setattr(engines.compiled, "available", lambda: None)
    monkeypatch.setattr(engines.compiled, "device_count", lambda: DEVICES)
    monkeypatch.setattr(engines.compiled, "architecture", lambda index: "sm_90")
    monkeypatch.setattr(engines.compiled, "prepare", Prepared)
    return launches
