"""A stand-in for CuPy over host memory: devices, streams, arrays and NVRTC as atrous sees them, so that the device route runs without a GPU.

Given a `fake_device.Device`, every call that CuPy would make of CUDA is a numbered call of the fake runtime, which may
fail, and memory is the fake device's. Its compiler compiles nothing: a name becomes the kernel of that name in the
simulator. CuPy's memory pool is not modelled: every array asks the runtime.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import math
import sys
import types
from pathlib import Path

import numpy as np
from fake_device import OutOfMemoryError, RuntimeFailure

DEVICES = 2
ROOT = Path(__file__).resolve().parents[1]


class DriverFailure(RuntimeError):
    """What CuPy raises for a failed call of the driver."""


class CompilerFailure(RuntimeError):
    """What CuPy raises for a failed call of NVRTC."""


DriverFailure.__module__ = "cupy_backends.cuda.api.driver"
CompilerFailure.__module__ = "cupy_backends.cuda.libs.nvrtc"


class ndarray(np.ndarray):
    """Host memory that says it is on a device; every operation on it is a launch, and an allocation where it makes an array."""

    runtime = None

    def __array_finalize__(self, parent):
        self._device = getattr(parent, "_device", 0)

    @property
    def device(self):
        return types.SimpleNamespace(id=self._device)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.__array_interface__["data"][0])

    def _operate(self, allocates):
        if ndarray.runtime is not None:
            if allocates:
                ndarray.runtime.enter("cudaMalloc", unsafe=True, failure=OutOfMemoryError)
            ndarray.runtime.enter("cuLaunchKernel", failure=DriverFailure)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **words):
        self._operate(out is None)
        plain = [np.asarray(array) if isinstance(array, ndarray) else array for array in inputs]
        if out is not None:
            getattr(ufunc, method)(*plain, out=tuple(np.asarray(array) for array in out), **words)
            return out[0] if len(out) == 1 else out
        result = getattr(ufunc, method)(*plain, **words)
        return result.view(ndarray) if isinstance(result, np.ndarray) else result

    def __setitem__(self, at, values):
        self._operate(False)
        super().__setitem__(at, values)

    def astype(self, dtype, **words):
        self._operate(words.get("copy", True) or dtype != self.dtype)
        return super().astype(dtype, **words)


ndarray.__module__ = "cupy"


class Function:
    """A kernel that the stand-in's compiler made."""

    def __init__(self, runtime, name):
        self.runtime, self.ptr = runtime, name

    def __call__(self, grid, block, arguments, shared_mem, stream):
        self.runtime.launch(self.ptr, grid, block, shared_mem, stream.ptr, arguments[0].tobytes(), failure=DriverFailure)


class Compiler:
    """The functions of `cupy.cuda.nvrtc` that the runtime engine calls."""

    NVRTCError = CompilerFailure

    def __init__(self, runtime):
        self.runtime = runtime
        self.programs = {}

    def _enter(self, name):
        self.runtime.enter(name, failure=CompilerFailure)

    def getVersion(self):
        self._enter("nvrtcVersion")
        return (13, 0)

    def getSupportedArchs(self):
        self._enter("nvrtcGetSupportedArchs")
        return (80, 90)

    def createProgram(self, source, name, headers, include_names):
        self._enter("nvrtcCreateProgram")
        program = len(self.programs) + 1
        self.programs[program] = None
        return program

    def addNameExpression(self, program, name):
        self._enter("nvrtcAddNameExpression")
        self.programs[program] = name

    def compileProgram(self, program, options):
        self._enter("nvrtcCompileProgram")

    def getCUBIN(self, program):
        self._enter("nvrtcGetCUBIN")
        return self.programs[program].encode()

    getPTX = getCUBIN

    def getProgramLog(self, program):
        self._enter("nvrtcGetProgramLog")
        return "the log of a compiler that compiles nothing"

    def getLoweredName(self, program, name):
        self._enter("nvrtcGetLoweredName")
        return name

    def destroyProgram(self, program):
        self.programs[program] = None
        self._enter("nvrtcDestroyProgram")


class Module:
    """A module of the driver."""

    runtime = None

    def load(self, binary):
        self.runtime.enter("cuModuleLoadData", unsafe=True, failure=DriverFailure)

    def get_function(self, name):
        self.runtime.enter("cuModuleGetFunction", failure=DriverFailure)
        return Function(self.runtime, name)


class Stream:
    """A stream of CuPy's own: what is launched on it during a capture is recorded, and runs when the graph is launched."""

    POINTER = 9000

    def __init__(self, cupy):
        self.cupy, self.ptr = cupy, self.POINTER

    def __enter__(self):
        self.context = self.cupy._stream(self.ptr)
        self.context.__enter__()
        return self

    def __exit__(self, *failure):
        self.context.__exit__(*failure)

    def synchronize(self):
        assert self.cupy.recorded is None, "a capture is under way"

    def begin_capture(self):
        self.cupy.recorded = []

    def end_capture(self):
        recorded, self.cupy.recorded = self.cupy.recorded, None

        def launch(stream):
            assert stream is self
            for inner, pointers in recorded:
                inner.run(pointers, 0)

        return types.SimpleNamespace(launch=launch)


class FakeCuPy(types.ModuleType):
    """The module, with a current device, a current stream a device, and a count of allocations."""

    __version__ = "0+fake"

    def __init__(self, runtime=None):
        super().__init__("cupy")
        self.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        self.ndarray = ndarray
        self.runtime = runtime
        self.allocations = 0
        self.recorded = None  # launches of a capture under way
        self._current = 0
        self.streams = [7000 + device for device in range(DEVICES)]
        self.cuda = types.SimpleNamespace(
            Device=lambda index: Device(self, index),
            ExternalStream=self._stream,
            Stream=lambda non_blocking: Stream(self),
            get_current_stream=self._current_stream,
            runtime=types.SimpleNamespace(
                getDevice=lambda: self.current, CUDARuntimeError=RuntimeFailure, deviceSynchronize=lambda: self._enter("cudaDeviceSynchronize")
            ),
            driver=types.SimpleNamespace(CUDADriverError=DriverFailure, funcSetAttribute=self._function_attribute),
            nvrtc=Compiler(runtime),
            Module=type("Module", (Module,), {"runtime": runtime}),
            get_cuda_path=lambda: ROOT / "csrc" / "sim",
            is_available=lambda: self._enter("cudaGetDeviceCount") is None,
        )

    def _enter(self, name, **words):
        if self.runtime is not None:
            self.runtime.enter(name, **words)

    def _function_attribute(self, function, attribute, value):
        assert attribute == 8
        self.runtime.allow_shared(function, value, failure=DriverFailure)

    @property
    def current(self):
        return self._current if self.runtime is None else self.runtime.get_device()

    @current.setter
    def current(self, index):
        if self.runtime is not None:
            self.runtime.set_device(index)
        self._current = index

    def _current_stream(self, device=-1):
        return types.SimpleNamespace(ptr=self.streams[self.current if device < 0 else device])

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
        if self.runtime is not None:
            memory = self.empty(array.shape, array.dtype)
            self._enter("cudaMemcpyAsync")
            np.asarray(memory)[...] = array
            return memory
        made = array.view(ndarray)
        made._device = self.current
        return made

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        if self.runtime is None:
            return self._made(np.empty(shape, dtype))
        count = math.prod(shape) if isinstance(shape, tuple) else shape
        memory = self.runtime.allocate(count * dtype.itemsize) if count else np.empty(0, np.uint8)
        made = memory.view(dtype).reshape(shape).view(ndarray)
        made._device = self._current
        return made

    def asarray(self, array, dtype=None):
        return array if isinstance(array, ndarray) and dtype in (None, array.dtype) else self._made(np.array(array, dtype))

    def ascontiguousarray(self, array, dtype=None):
        return array if array.flags.c_contiguous and dtype in (None, array.dtype) else self._made(np.array(np.asarray(array), dtype, order="C"))

    def array(self, array, order="K", copy=True):
        return self._made(np.array(np.asarray(array), order=order, copy=copy))

    def asnumpy(self, array):
        self._enter("cudaMemcpyAsync")
        return np.array(array)

    def from_dlpack(self, array):
        return self._made(np.from_dlpack(array))

    def sum(self, array):
        array._operate(True)  # not through __array_ufunc__: NumPy's reductions leak their operand where that raises
        return np.sum(np.asarray(array))

    def get_default_memory_pool(self):
        return types.SimpleNamespace(free_all_blocks=lambda: None)

    def __getattr__(self, name):
        return getattr(np, name)


class Device:
    """`cupy.cuda.Device`: a device made current for a while, and its capability."""

    def __init__(self, cupy, index):
        self.cupy, self.id = cupy, index

    @property
    def compute_capability(self):
        self.cupy._enter("cudaDeviceGetAttribute")
        return "90"

    def __enter__(self):
        self.before = self.cupy.current
        if self.id != self.before:
            self.cupy.current = self.id
        return self

    def __exit__(self, *failure):
        self.cupy.current = self.before


def install(monkeypatch, runtime=None):
    """Put a FakeCuPy where `import cupy` finds it, and forget libraries loaded before and after."""
    from atrous import interop

    cupy = FakeCuPy(runtime)
    monkeypatch.setattr(ndarray, "runtime", runtime)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy.lib", np.lib)
    monkeypatch.setitem(sys.modules, "cupy.lib.stride_tricks", np.lib.stride_tricks)
    monkeypatch.setattr(interop, "_libraries", {"numpy": interop.library_named("numpy")})
    forget()
    return cupy


def forget():
    """Drop what plans, functional calls and engines remember of devices, routes and libraries."""
    from atrous import repeats, routes
    from atrous.engines import array_namespace, compiled, runtime

    for remembered in (routes.route, routes._cuda_device, compiled.available, compiled._load, runtime._load, runtime._function, array_namespace._of_module):
        if hasattr(remembered, "cache_clear"):  # a test may have put a plain function in its place
            remembered.cache_clear()
    repeats.forget()


def serve_compiled(monkeypatch, cupy):
    """Put the simulator in the compiled engine's place; return the list of launches: (name, device, stream) each."""
    from atrous import engines

    launches = []

    class Prepared:
        def __init__(self, launch):
            self.name, self.inner = launch.name, engines.simulated.prepare(launch)

        def run(self, pointers, stream):
            launches.append((self.name, cupy.current, stream))
            if cupy.recorded is not None and stream == Stream.POINTER:
                cupy.recorded.append((self.inner, pointers))
            else:
                self.inner.run(pointers, 0)

    monkeypatch.setattr(engines.compiled, "available", lambda: None)
    monkeypatch.setattr(engines.compiled, "device_count", lambda: DEVICES)
    monkeypatch.setattr(engines.compiled, "architecture", lambda index: "sm_90")
    monkeypatch.setattr(engines.compiled, "prepare", Prepared)
    return launches


def serve_device(monkeypatch, engine="compiled"):
    """Put the fake device under CuPy and the module of the CUDA extension; return (the device, CuPy).

    `engine` serves calls that name none: "compiled", "runtime" or "arrays"; those before it are away.
    """
    from fake_device import Device as FakeDevice

    from atrous.engines import compiled, runtime

    forget()  # what an earlier test found out of the machine as it is
    device = FakeDevice(DEVICES)
    cupy = install(monkeypatch, device)
    away = "away, says the test"
    monkeypatch.setattr(compiled, "_load", lambda: (device.module, None) if engine == "compiled" else (None, away))
    if engine == "arrays":
        monkeypatch.setattr(runtime, "_load", lambda: (None, (), away))
    return device, cupy
