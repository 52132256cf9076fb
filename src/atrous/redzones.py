"""Operands between red zones: memory of the host or of a GPU in which a stray read shows as NaN and a stray write is seen."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import EngineUnavailable, sentence
from .interop import numpy_dtype

#: bytes of 0xFF on both sides of an operand; a multiple of every alignment that a kernel asks for
RED = 512
#: what outputs hold before a run: NaN in every float; no extreme, and no likely sum, in integers
FLOAT_POISON, INTEGER_POISON = 0xFF, 0xAB


@functools.lru_cache(maxsize=1)
def _sanitizer() -> Any:
    """Return the runtime of AddressSanitizer where this process runs under it, or None."""
    process = ctypes.CDLL(None)
    return process if hasattr(process, "__asan_poison_memory_region") else None


class Host:
    """NumPy's memory, for the simulator and the array path."""

    device = "cpu"

    def guard(self, address: int, size: int, forbidden: bool) -> None:
        """Make AddressSanitizer, where it is, report every access of sanitized code to these bytes, or no longer."""
        if self.device == "cpu" and (process := _sanitizer()) is not None:
            call = getattr(process, "__asan_poison_memory_region" if forbidden else "__asan_unpoison_memory_region")
            call(ctypes.c_void_p(address), ctypes.c_size_t(size))

    def upload(self, image: np.ndarray) -> tuple[Any, int]:
        """Return memory that holds these bytes, and its address, a multiple of RED."""
        raw = np.empty(image.size + RED, np.uint8)
        start = -raw.ctypes.data % RED
        whole = raw[start : start + image.size]
        whole[:] = image
        return whole, whole.ctypes.data

    def download(self, memory: Any) -> np.ndarray:
        """Return the bytes, after all that was issued has finished."""
        return np.asarray(memory)

    def stream(self) -> int:
        """Return the stream that launches go to."""
        return 0

    def lost(self) -> str | None:
        """Return what the device answers to a wait if it will never do better in this process, else None.

        A failure that passes is told once, to the call that failed; one that stays is told to every call.
        """
        return None


class CuPyMemory(Host):
    """Memory of the current GPU through CuPy."""

    def __init__(self) -> None:
        self.cupy: Any = importlib.import_module("cupy")
        self.device = f"cuda:{self.cupy.cuda.runtime.getDevice()}"

    def upload(self, image: np.ndarray) -> tuple[Any, int]:
        memory = self.cupy.asarray(image)
        return memory, int(memory.data.ptr)

    def download(self, memory: Any) -> np.ndarray:
        return np.asarray(self.cupy.asnumpy(memory))

    def stream(self) -> int:
        return int(self.cupy.cuda.get_current_stream().ptr)

    def lost(self) -> str | None:
        return _failure_of(self.cupy.cuda.runtime.deviceSynchronize)


class TorchMemory(Host):
    """Memory of the current GPU through torch."""

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.device = f"cuda:{self.torch.cuda.current_device()}"

    def upload(self, image: np.ndarray) -> tuple[Any, int]:
        memory = self.torch.from_numpy(image.copy()).to(self.device)
        return memory, int(memory.data_ptr())

    def download(self, memory: Any) -> np.ndarray:
        return np.asarray(memory.cpu().numpy())

    def stream(self) -> int:
        return int(self.torch.cuda.current_stream().cuda_stream)

    def lost(self) -> str | None:
        return _failure_of(self.torch.cuda.synchronize)


def _failure_of(wait: Callable[[], object]) -> str | None:
    try:
        wait()
    except RuntimeError as failure:
        return str(failure)
    return None


def memory_for(engine: str) -> Host:
    """Return the memory that an engine's kernels read, or raise EngineUnavailable if no library gives any."""
    if engine in ("simulated", "arrays"):
        return Host()
    for library, memory in (("cupy", CuPyMemory), ("torch", TorchMemory)):
        if _is_installed(library) and importlib.import_module(library).cuda.is_available():
            return memory()
    raise EngineUnavailable(
        sentence("verify", f"engine {engine!r} reads a GPU's memory", "CuPy or torch that reach a GPU, to hold the operands", "pip install 'atrous[cu13]'")
    )


def _is_installed(library: str) -> bool:
    return sys.modules[library] is not None if library in sys.modules else importlib.util.find_spec(library) is not None


class Guarded:
    """One operand in some memory, between red zones.

    Parameters
    ----------
    memory : Host or one of its kind
    shape, dtype
        Of the operand; dtype by name.
    values : numpy.ndarray, optional
        What it holds; None: an output, poisoned.
    shift : int
        Elements between the aligned address and the first one, so that paths for odd addresses run too.
    poison : int, optional
        Byte that fills what holds no values; default FLOAT_POISON or INTEGER_POISON, by dtype.
    """

    def __init__(self, memory: Host, shape: tuple[int, ...], dtype: str, values: np.ndarray | None = None, shift: int = 0, poison: int | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(numpy_dtype(dtype))
        self._memory = memory
        self._start = RED + shift * self.dtype.itemsize
        self._stop = self._start + int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        image = np.full(self._stop + RED, 0xFF, np.uint8)
        if poison is None:
            poison = FLOAT_POISON if self.dtype.kind not in "iu" else INTEGER_POISON
        image[self._start : self._stop] = poison if values is None else np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._sent = image if values is not None else None
        self._held, self._address = memory.upload(image)
        self._size = image.size
        self.pointer = self._address + self._start
        memory.guard(self._address, self._start, True)
        memory.guard(self._address + self._stop, self._size - self._stop, True)

    def __del__(self) -> None:
        if hasattr(self, "_size"):
            self._memory.guard(self._address, self._size, False)

    def view(self) -> Any:
        """Return the operand as an array over host memory."""
        return self._held[self._start : self._stop].view(self.dtype).reshape(self.shape)

    def fetch(self) -> tuple[np.ndarray, str | None]:
        """Return what the operand holds now, and what was written that should not be, or None."""
        self._memory.guard(self._address, self._size, False)
        whole = self._memory.download(self._held)
        payload = whole[self._start : self._stop].view(self.dtype).reshape(self.shape)
        below, above = np.flatnonzero(whole[: self._start] != 0xFF), np.flatnonzero(whole[self._stop :] != 0xFF)
        if below.size:
            return payload, f"{below.size} bytes written before it, the nearest {self._start - int(below[-1])} bytes before its first"
        if above.size:
            return payload, f"{above.size} bytes written after it, the nearest {int(above[0]) + 1} bytes after its last"
        if self._sent is not None and (bad := np.flatnonzero(whole != self._sent)).size:
            return payload, f"{bad.size} bytes of it, an input, were changed, the first at byte {int(bad[0]) - self._start}"
        return payload, None
