"""The runtime engine: the same kernel names, compiled on first use by NVRTC through CuPy."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from ..errors import CudaError, EngineUnavailable, sentence
from ..launch import Launch

_UNASKED_SHARED_BYTES = 48 * 1024  # dynamic shared memory a block gets without asking
_MAX_DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES of cuda.h


def kernel_headers() -> Path | None:
    """Return the folder that holds atrous/kernels/*.cuh: in the package, or in the source tree it is imported from."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "include", package.parents[1] / "csrc" / "include"):
        if (folder / "atrous" / "problem.hpp").is_file():
            return folder
    return None


def _cuda_headers(cupy: Any) -> Path | None:
    folders = []
    if importlib.util.find_spec("cuda") and importlib.util.find_spec("cuda.pathfinder"):
        folders.append(importlib.import_module("cuda.pathfinder").find_nvidia_header_directory("cudart"))
    root = cupy.cuda.get_cuda_path()
    folders.append(Path(root) / "include" if root else None)
    return next((Path(folder) for folder in folders if folder and Path(folder, "cuda_fp16.h").is_file()), None)


@functools.lru_cache(maxsize=1)
def _load() -> tuple[Any, tuple[Path, ...], str | None]:
    """Return CuPy and the folders of headers, or the sentence that says what is missing."""
    if importlib.util.find_spec("cupy") is None:
        return None, (), "CuPy is not installed; pip install 'atrous[cu13]' brings it"
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as failure:
        return None, (), f"CuPy is installed but failed to load, because {failure}"
    found = f"CuPy {cupy.__version__} is installed, but"
    try:
        if not cupy.cuda.is_available():
            return None, (), f"{found} it sees no CUDA device"
    except _cuda_errors(cupy) as failure:
        raise _launch_failure("runtime", failure) from failure
    folders = [kernel_headers(), _cuda_headers(cupy)]
    if None in folders:
        what = "the kernels' headers are not beside the package" if folders[0] is None else "the header cuda_fp16.h is not found; install atrous[cu13]"
        return None, (), f"{found} {what}"
    try:
        cupy.cuda.nvrtc.getVersion()
    except cupy.cuda.nvrtc.NVRTCError as failure:
        raise _launch_failure("runtime", failure) from failure
    except (RuntimeError, OSError) as failure:
        return None, (), f"{found} NVRTC failed to load, because {failure}"
    return cupy, tuple(folder for folder in folders if folder), None


def available() -> str | None:
    """Return None if kernels can be compiled and run here, or the sentence that says why they cannot.

    Raises
    ------
    CudaError
        If the driver or the compiler is there and failed to answer, which says nothing of the next time.
    """
    return _load()[2]


def target(capability: int, supported: Sequence[int]) -> str:
    """Return the architecture option for a device, for example ``sm_90a`` for 90: what NVRTC can say of it.

    Parameters
    ----------
    capability
        10 * major + minor of the device.
    supported
        The capabilities that this NVRTC knows; past them the driver compiles the newest PTX.
    """
    if capability in supported:
        return "sm_90a" if capability == 90 else f"sm_{capability}"
    return f"compute_{max((known for known in supported if known < capability), default=capability)}"


def compile_kernel(nvrtc: Any, name: str, header: str, architecture: str, folders: Sequence[Path]) -> tuple[bytes, str]:
    """Return the binary of one kernel and the linker's name for it.

    CuPy's RawModule is passed over because it always appends ``-ftz=true``, which the other engines do not compute with.

    Parameters
    ----------
    nvrtc
        `cupy.cuda.nvrtc`, or anything with its functions.
    name, header
        As in a Launch.
    architecture
        ``sm_..`` for machine code, ``compute_..`` for PTX.
    folders
        Where headers are looked for.

    Raises
    ------
    CudaError
        With NVRTC's log, if the kernel does not compile.
    """
    source = f"#include <{header}>\nusing namespace atrous;\n"
    options = (f"-arch={architecture}", "-std=c++17", *(f"-I{folder}" for folder in folders))
    program = None
    try:
        program = nvrtc.createProgram(source, "atrous.cu", (), ())
        nvrtc.addNameExpression(program, name)
        nvrtc.compileProgram(program, options)
        binary = nvrtc.getCUBIN(program) if architecture.startswith("sm_") else nvrtc.getPTX(program)
        return bytes(binary), str(nvrtc.getLoweredName(program, name))
    except RuntimeError as failure:
        log = "" if program is None else _log(nvrtc, program)
        raise CudaError(
            sentence("runtime", f"NVRTC refused {name} for {architecture}: {failure}: {log}", "a kernel that compiles", "use another engine")
        ) from failure
    finally:
        if program is not None:
            with contextlib.suppress(RuntimeError):  # the kernel is there, or a better reason why not
                nvrtc.destroyProgram(program)


def _log(nvrtc: Any, program: Any) -> str:
    try:
        return str(nvrtc.getProgramLog(program)).strip()
    except RuntimeError as failure:
        return f"its log cannot be had, because {failure}"


@functools.cache
def _function(name: str, header: str, shared_bytes: int, device: int) -> Any:
    """Return the compiled kernel, loaded on the current device, which is `device`."""
    cupy, folders, _ = _load()
    nvrtc = cupy.cuda.nvrtc
    architecture = target(int(cupy.cuda.Device(device).compute_capability), nvrtc.getSupportedArchs())
    binary, lowered = compile_kernel(nvrtc, name, header, architecture, folders)
    try:
        module = cupy.cuda.Module()
        module.load(binary)
        function = module.get_function(lowered)
        if shared_bytes > _UNASKED_SHARED_BYTES:
            cupy.cuda.driver.funcSetAttribute(function.ptr, _MAX_DYNAMIC_SHARED_BYTES, shared_bytes)
    except _cuda_errors(cupy) as failure:
        raise _launch_failure(name, failure) from failure
    return function


def _cuda_errors(cupy: Any) -> tuple[type[Exception], ...]:
    return cupy.cuda.driver.CUDADriverError, cupy.cuda.runtime.CUDARuntimeError


def _launch_failure(name: str, failure: Exception) -> CudaError:
    return CudaError(sentence(name, str(failure), "success", "see that the device, its memory and its driver are in order"))


class _Stream:
    """What CuPy asks of a stream at a launch: its handle, here the caller's own."""

    def __init__(self, pointer: int) -> None:
        self.ptr = pointer


class Prepared:
    """One kernel with its grid and its arguments; compiled on each device at its first run there."""

    def __init__(self, cupy: Any, launch: Launch) -> None:
        self._cupy = cupy
        self._launch = launch
        self._slots = struct.Struct(f"={len(launch.pointers)}Q")
        self._tail = launch.parameters[self._slots.size :]
        self._type = numpy.dtype((numpy.void, len(launch.parameters)))

    def run(self, pointers: tuple[int, ...], stream: int) -> None:
        """Launch with these pointers on this stream of the current device; neither waits nor allocates."""
        launch, cuda = self._launch, self._cupy.cuda
        function = _function(launch.name, launch.header, launch.shared_bytes, cuda.runtime.getDevice())
        # CuPy passes a NumPy array of one element by value, whatever its type: here the whole argument struct.
        argument = numpy.frombuffer(self._slots.pack(*pointers) + self._tail, self._type)
        try:
            function(launch.grid, launch.block, (argument,), shared_mem=launch.shared_bytes, stream=_Stream(stream))
        except _cuda_errors(self._cupy) as failure:
            raise _launch_failure(launch.name, failure) from failure


def prepare(launch: Launch) -> Prepared:
    """Return the launch bound to CuPy's compiler.

    Raises
    ------
    EngineUnavailable
        If kernels cannot be compiled or run here, or the launch wants a cluster, which CuPy cannot ask for.
    """
    cupy, _, reason = _load()
    if reason is None and launch.cluster != (1, 1, 1):
        reason = f"{launch.name} wants a cluster of {launch.cluster} blocks, and CuPy launches without clusters"
    if reason is None and launch.tensor_maps:
        reason = f"{launch.name} takes tensor maps, which only the extension encodes"
    if reason is not None:
        raise EngineUnavailable(sentence("runtime", reason, "CuPy, its headers and a CUDA device", "pass engine=None to have an engine chosen"))
    return Prepared(cupy, launch)


def describe() -> dict[str, Any]:
    """Return the versions of CuPy and NVRTC, or why there are none."""
    try:
        cupy, folders, reason = _load()
    except CudaError as failure:
        cupy, folders, reason = None, (), str(failure)
    facts: dict[str, Any] = {"engine": "runtime", "reason": reason}
    if reason is None:
        facts.update(cupy=cupy.__version__, nvrtc=".".join(map(str, cupy.cuda.nvrtc.getVersion())), headers=[str(folder) for folder in folders])
    return facts
