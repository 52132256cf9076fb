"""Arrays in and out: one small class per library, found by the array's type, loaded at first sight.

An array of kind X gives a result of kind X, on the device of X. NumPy users never import CuPy or torch. Facts about
an array are asked once per call and kept in an `Operand`; nothing here copies array data, except where a function
says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import EngineUnavailable, ProblemError, sentence, shown

#: every dtype name an array may have and be told apart by; what an operation takes is checked by its problem
KNOWN_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64")
HINT = "pass a NumPy, CuPy or torch array, or any object with __dlpack__"


@dataclass(slots=True)
class Operand:
    """The facts about one array that plans and engines need."""

    array: Any  # what the array path computes with: a NumPy, CuPy or array-api-strict array over the same memory
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    dtype: str
    device: str  # "cpu" or "cuda:0"
    pointer: int
    writable: bool


class Library:
    """NumPy, and the common ground of every other library."""

    name = "NumPy"

    def operand(self, operation: str, name: str, array: Any) -> Operand:
        """Return the facts about `array`, or raise ProblemError if its dtype has no meaning here."""
        if isinstance(array, np.ma.MaskedArray):
            raise ProblemError(sentence(operation, f"{name} is a masked array", "an array without a mask", f"pass {name}.filled(value)"))
        return numpy_operand(operation, name, np.asarray(array))

    def empty(self, shape: tuple[int, ...], dtype: str, like: Operand) -> Any:
        """Return a new uninitialised array of this library on the device of `like`."""
        return np.empty(shape, numpy_dtype(dtype))

    def copy(self, operand: Operand) -> Any:
        """Return a C-contiguous copy of the operand in this library."""
        return np.array(operand.array, order="C", copy=True)

    def made(self, operation: str, array: Any, like: Operand) -> Operand:
        """Return the facts of an array that `empty` or `copy` made."""
        return self.operand(operation, "out", array)

    def constant(self, values: Any, dtype: str, like: Operand) -> Operand:
        """Return a small table of numbers as an operand on the device of `like`."""
        return numpy_operand("constant", "table", np.ascontiguousarray(values, numpy_dtype(dtype)))

    def computable(self, operand: Operand) -> Any:
        """Return the operand as the NumPy, CuPy or array-api-strict array that the array path computes with."""
        return operand.array

    def result(self, operation: str, array: Any) -> Any:
        """Return an output that `empty` made as the user's kind of array."""
        return array

    def stream(self, operand: Operand) -> int:
        """Return the library's current stream on the operand's device; 0 on a CPU."""
        return 0

    def is_current(self, operand: Operand) -> bool:
        """Return whether a launch from here goes to the operand's device."""
        return True

    def on(self, operand: Operand, stream: int) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which device and stream are those of the call."""
        return contextlib.nullcontext()


def numpy_dtype(name: str) -> Any:
    """Return the NumPy dtype of a dtype name; bfloat16 comes from ml_dtypes."""
    if name == "bfloat16":
        if importlib.util.find_spec("ml_dtypes") is None:
            raise ProblemError(sentence("dtype", "bfloat16 was asked for and ml_dtypes is not installed", "NumPy with ml_dtypes", "pip install ml_dtypes"))
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(name)


@functools.lru_cache(maxsize=4096)
def _in_elements(strides: tuple[int, ...], itemsize: int) -> tuple[int, ...] | None:
    """Return byte strides as element strides, or None where they are no multiple of the element."""
    return None if any(step % itemsize for step in strides) else tuple(step // itemsize for step in strides)


def element_strides(operation: str, name: str, strides: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return byte strides as element strides, or raise ProblemError where they are no multiple of the element."""
    found = _in_elements(strides, itemsize)
    if found is None:
        came = f"{name} has byte strides {strides} and elements of {itemsize} bytes"
        raise ProblemError(sentence(operation, came, "strides that are multiples of the element", f"pass a copy of {name}"))
    return found


#: NumPy dtype -> its name and alignment, of the dtypes that were found to have a meaning here; a foreign byte order is another dtype
_known: dict[Any, tuple[str, int]] = {}


def numpy_operand(operation: str, name: str, array: Any, device: str = "cpu") -> Operand:
    """Return the Operand of a NumPy ndarray."""
    facts = _known.get(array.dtype)
    if facts is None:
        facts = known_dtype(operation, name, array.dtype.name, array.dtype.isnative), array.dtype.alignment
        _known[array.dtype] = facts
    dtype, alignment = facts
    strides = element_strides(operation, name, array.strides, array.itemsize)
    pointer = array.ctypes.data or 0  # None where an empty array has no address
    if pointer % alignment:
        raise misaligned(operation, name, alignment, dtype)
    return Operand(array, array.shape, strides, dtype, device, pointer, array.flags.writeable)


def misaligned(operation: str, name: str, alignment: int, dtype: str) -> ProblemError:
    """Return what refuses an array whose elements no instruction can load."""
    came = f"{name} starts at an address that is no multiple of {alignment}, the alignment of {dtype}"
    return ProblemError(sentence(operation, came, "aligned elements", f"pass a copy of {name}"))


def known_dtype(operation: str, name: str, dtype: str, native: bool = True) -> str:
    """Return `dtype` if it is one of KNOWN_DTYPES in native byte order, else raise ProblemError."""
    if dtype not in KNOWN_DTYPES or not native:
        came = f"{name} has dtype {dtype}" + ("" if native else " in foreign byte order")
        raise ProblemError(sentence(operation, came, f"one of {', '.join(KNOWN_DTYPES[:6])}", f"convert it first, for example {name}.astype('float32')"))
    return dtype


class CuPy(Library):
    """CuPy arrays."""

    name = "CuPy"

    def __init__(self) -> None:
        self.cupy = importlib.import_module("cupy")

    def operand(self, operation: str, name: str, array: Any) -> Operand:
        if not isinstance(array, self.cupy.ndarray):
            array = self.cupy.asarray(array)  # a view: __cuda_array_interface__ of some other library
        dtype = known_dtype(operation, name, array.dtype.name)
        strides = element_strides(operation, name, array.strides, array.itemsize)
        pointer = array.data.ptr
        if pointer % array.itemsize:  # on a device a fault that no call of the process survives
            raise misaligned(operation, name, array.itemsize, dtype)
        return Operand(array, array.shape, strides, dtype, f"cuda:{array.device.id}", pointer, True)

    def empty(self, shape: tuple[int, ...], dtype: str, like: Operand) -> Any:
        with self.on(like, -1):
            return self.cupy.empty(shape, numpy_dtype(dtype))

    def constant(self, values: Any, dtype: str, like: Operand) -> Operand:
        with self.on(like, -1):
            return self.operand("constant", "table", self.cupy.asarray(np.asarray(values, numpy_dtype(dtype))))

    def copy(self, operand: Operand) -> Any:
        with self.on(operand, -1):
            return self.cupy.array(operand.array, order="C", copy=True)

    def stream(self, operand: Operand) -> int:
        return int(self.cupy.cuda.get_current_stream(device_index(operand)).ptr)

    def is_current(self, operand: Operand) -> bool:
        return bool(self.cupy.cuda.runtime.getDevice() == device_index(operand))

    @contextlib.contextmanager
    def on(self, operand: Operand, stream: int) -> Iterator[None]:
        with self.cupy.cuda.Device(device_index(operand)):
            if stream < 0 or stream == self.cupy.cuda.get_current_stream().ptr:
                yield
            else:
                with self.cupy.cuda.ExternalStream(stream):
                    yield


class Torch(Library):
    """torch tensors on a CPU or a CUDA device. Gradients are not recorded: pass x.detach()."""

    name = "torch"

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")

    def operand(self, operation: str, name: str, array: Any) -> Operand:
        torch = self.torch
        if array.layout is not torch.strided:
            raise ProblemError(sentence(operation, f"{name} is a {array.layout} tensor", "a dense strided tensor", f"pass {name}.to_dense()"))
        if array.requires_grad:
            raise ProblemError(
                sentence(operation, f"{name} requires a gradient", "a tensor without one (nothing here records gradients)", f"pass {name}.detach()")
            )
        dtype = known_dtype(operation, name, str(array.dtype).removeprefix("torch."))
        if array.device.type not in ("cpu", "cuda"):
            raise ProblemError(sentence(operation, f"{name} is on the device {str(array.device)!r}", "'cpu' or 'cuda'", f"move {name} with .to()"))
        device = "cpu" if array.device.type == "cpu" else f"cuda:{array.device.index}"
        pointer = array.data_ptr()
        if pointer % array.element_size():
            raise misaligned(operation, name, array.element_size(), dtype)
        view = self.view(array, dtype) if device == "cpu" else array
        return Operand(view, tuple(array.shape), tuple(array.stride()), dtype, device, pointer, True)

    def view(self, tensor: Any, dtype: str) -> Any:
        """Return the NumPy view of a CPU tensor."""
        if dtype == "bfloat16":
            return tensor.view(self.torch.uint16).numpy().view(numpy_dtype("bfloat16"))
        return tensor.numpy()

    def empty(self, shape: tuple[int, ...], dtype: str, like: Operand) -> Any:
        return self.torch.empty(shape, dtype=getattr(self.torch, dtype), device=like.device)

    def constant(self, values: Any, dtype: str, like: Operand) -> Operand:
        return self.operand("constant", "table", self.torch.tensor(values, dtype=getattr(self.torch, dtype), device=like.device))

    def computable(self, operand: Operand) -> Any:
        return operand.array if operand.device == "cpu" else library_named("cupy").cupy.from_dlpack(operand.array)  # type: ignore[attr-defined]

    def copy(self, operand: Operand) -> Any:
        if operand.device != "cpu":
            return operand.array.detach().clone(memory_format=self.torch.contiguous_format)
        whole = self.empty(operand.shape, operand.dtype, operand)
        self.view(whole, operand.dtype)[...] = operand.array
        return whole

    def stream(self, operand: Operand) -> int:
        return 0 if operand.device == "cpu" else int(self.torch.cuda.current_stream(operand.device).cuda_stream)

    def on(self, operand: Operand, stream: int) -> contextlib.AbstractContextManager[Any]:
        if operand.device == "cpu":
            return contextlib.nullcontext()
        if stream < 0 or stream == self.stream(operand):
            return self.torch.cuda.device(operand.device)
        # memory taken here and given back at once is used anew only behind what this stream still does with it
        return self.torch.cuda.stream(self.torch.cuda.ExternalStream(stream, device=operand.device))


class ArrayApiStrict(Library):
    """array-api-strict arrays: host memory behind the array standard's own rules; the array path alone takes them."""

    name = "array-api-strict"

    def __init__(self) -> None:
        self.strict = importlib.import_module("array_api_strict")

    def operand(self, operation: str, name: str, array: Any) -> Operand:
        inner = numpy_operand(operation, name, np.asarray(array))
        return Operand(array, inner.shape, inner.strides, inner.dtype, "cpu", inner.pointer, True)

    def empty(self, shape: tuple[int, ...], dtype: str, like: Operand) -> Any:
        return self.strict.empty(shape, dtype=getattr(self.strict, dtype))

    def constant(self, values: Any, dtype: str, like: Operand) -> Operand:
        return self.operand("constant", "table", self.strict.asarray(values, dtype=getattr(self.strict, dtype)))

    def copy(self, operand: Operand) -> Any:
        return self.strict.asarray(operand.array, copy=True)


class DLPack(Library):
    """Any other producer of DLPack or __cuda_array_interface__: read in place, answered through its own from_dlpack."""

    def __init__(self, root: str) -> None:
        self.name = root
        module = importlib.import_module("jax.numpy") if root in ("jax", "jaxlib") else sys.modules.get(root)
        self.consume = getattr(module, "from_dlpack", None)
        self.host = Library()

    def operand(self, operation: str, name: str, array: Any) -> Operand:
        try:
            on_host = hasattr(array, "__dlpack_device__") and int(array.__dlpack_device__()[0]) == 1
        except Exception as error:  # the producer's own, of any kind
            raise unreadable(operation, name, error) from error
        operand = numpy_operand(operation, name, self._host_view(operation, name, array)) if on_host else self._through_cupy(operation, name, array)
        if self.name in ("jax", "jaxlib"):
            operand.writable = False
        return operand

    def _host_view(self, operation: str, name: str, array: Any) -> Any:
        try:
            return np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError) as refusal:  # a dtype (bfloat16) or read-only array NumPy's importer refuses
            view = np.asarray(array)
            if view.dtype == object:  # the producer is no array to NumPy in any other way
                raise unreadable(operation, name, refusal) from refusal
            return view
        except MemoryError:
            raise
        except Exception as error:  # the producer's own, of any kind
            raise unreadable(operation, name, error) from error

    def _through_cupy(self, operation: str, name: str, array: Any) -> Operand:
        """Return the facts about an array that is not in host memory, or raise EngineUnavailable if CuPy cannot read it."""
        came = f"{name} is a {type(array).__name__} that is not in host memory"
        if importlib.util.find_spec("cupy") is None:
            raise EngineUnavailable(sentence(operation, f"{came}, and CuPy is not installed", "CuPy to read it", "pip install atrous[cu13]"))
        cupy = library_named("cupy")
        try:
            view = array if hasattr(array, "__cuda_array_interface__") else cupy.cupy.from_dlpack(array)  # type: ignore[attr-defined]
            view = cupy.cupy.asarray(view)  # type: ignore[attr-defined]
        except Exception as error:  # CuPy's and the driver's own errors, which no other root holds
            raise EngineUnavailable(
                sentence(operation, f"{came}, and CuPy cannot read it ({shown(error)})", "an array on a device CuPy reaches", f"copy {name} to one")
            ) from error
        return cupy.operand(operation, name, view)

    def _inner(self, operand: Operand) -> Library:
        return self.host if operand.device == "cpu" else library_named("cupy")

    def empty(self, shape: tuple[int, ...], dtype: str, like: Operand) -> Any:
        return self._inner(like).empty(shape, dtype, like)

    def made(self, operation: str, array: Any, like: Operand) -> Operand:
        return self._inner(like).operand(operation, "out", array)

    def constant(self, values: Any, dtype: str, like: Operand) -> Operand:
        return self._inner(like).constant(values, dtype, like)

    def computable(self, operand: Operand) -> Any:
        return self._inner(operand).computable(operand)

    def copy(self, operand: Operand) -> Any:
        return self._inner(operand).copy(operand)

    def stream(self, operand: Operand) -> int:
        return self._inner(operand).stream(operand)

    def on(self, operand: Operand, stream: int) -> contextlib.AbstractContextManager[Any]:
        return self._inner(operand).on(operand, stream)

    def result(self, operation: str, array: Any) -> Any:
        if self.consume is None:
            return array
        if array.dtype.name == "bfloat16":  # NumPy exports no bfloat16 capsule; jax takes the array itself
            return importlib.import_module("jax.numpy").asarray(array) if self.name in ("jax", "jaxlib") else array
        try:
            return self.consume(array)
        except MemoryError:
            raise
        except Exception as error:  # the importer's own, of any kind
            came = f"the result cannot be handed over: {self.name}.from_dlpack raised {type(error).__name__}: {error}"
            raise ProblemError(sentence(operation, came, "a library that takes DLPack", "pass out=, or x as a NumPy or CuPy array")) from error


_libraries: dict[str, Library] = {"numpy": Library()}
_CLASSES: dict[str, type[Library]] = {"cupy": CuPy, "torch": Torch, "array_api_strict": ArrayApiStrict}


def library_named(root: str) -> Library:
    """Return the Library of a top-level module name, made at first sight."""
    found = _libraries.get(root)
    if found is None:
        found = _libraries[root] = _CLASSES[root]() if root in _CLASSES else DLPack(root)
    return found


def library_of(operation: str, name: str, array: Any) -> Library:
    """Return the Library an array belongs to, or raise ProblemError if it is no array."""
    for cls in type(array).__mro__:
        root = cls.__module__.partition(".")[0]
        if (root == "numpy" and isinstance(array, np.ndarray)) or (root in _CLASSES and hasattr(array, "shape")):
            return library_named(root)
    try:
        is_producer = not isinstance(array, type) and (hasattr(array, "__dlpack_device__") or hasattr(array, "__cuda_array_interface__"))
    except Exception as error:  # a property of the array's own may fail in any way
        raise unreadable(operation, name, error) from error
    if is_producer:
        return library_named(type(array).__module__.partition(".")[0])
    raise ProblemError(sentence(operation, f"{name} is of type {type(array).__name__}", "an array", HINT))


def unreadable(operation: str, name: str, error: Exception) -> ProblemError:
    """Return the refusal of an array whose own methods fail."""
    came = f"{name} cannot be read: it raised {type(error).__name__}: {error}"
    return ProblemError(sentence(operation, came, "an array that can be read", HINT))


def device_index(operand: Operand) -> int:
    """Return the number of a CUDA device."""
    return int(operand.device.partition(":")[2] or 0)
