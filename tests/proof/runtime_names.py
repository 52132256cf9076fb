"""Compiles every instance of every kernel by NVRTC, as the runtime engine does, under the very name that a launch carries.

python tests/proof/runtime_names.py [--architecture compute_80] [--jobs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import importlib.util
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from atrous.engines import runtime
from atrous.errors import CudaError
from atrous.kernels import HELPERS, ORDER


class Nvrtc:
    """The functions of `cupy.cuda.nvrtc` that the engine uses, on the library of the nvidia-cuda-nvrtc wheel."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self.library, function)(*arguments)
        if status:
            raise RuntimeError(f"{function} gave {status}")

    def _bytes(self, what: str, program: int) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", ctypes.c_void_p(program), ctypes.byref(size))
        found = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", ctypes.c_void_p(program), found)
        return found.raw

    def createProgram(self, source: str, name: str, headers: tuple[()], include_names: tuple[()]) -> int | None:
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
        return program.value

    def addNameExpression(self, program: int, name: str) -> None:
        self._call("nvrtcAddNameExpression", ctypes.c_void_p(program), name.encode())

    def compileProgram(self, program: int, options: tuple[str, ...]) -> None:
        words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        self._call("nvrtcCompileProgram", ctypes.c_void_p(program), len(options), words)

    def getCUBIN(self, program: int) -> bytes:
        return self._bytes("CUBIN", program)

    def getPTX(self, program: int) -> bytes:
        return self._bytes("PTX", program)

    def getProgramLog(self, program: int) -> str:
        return self._bytes("ProgramLog", program).rstrip(b"\0").decode()

    def getLoweredName(self, program: int, name: str) -> str:
        lowered = ctypes.c_char_p()
        self._call("nvrtcGetLoweredName", ctypes.c_void_p(program), name.encode(), ctypes.byref(lowered))
        return (lowered.value or b"").decode()

    def destroyProgram(self, program: int) -> None:
        self._call("nvrtcDestroyProgram", ctypes.byref(ctypes.c_void_p(program)))


def cuda_folders() -> list[Path]:
    """Return the folders of the registry's CUDA 13 packages."""
    found = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.cu13")
    return [Path(folder) for folder in found.submodule_search_locations] if found else []


def compiler() -> tuple[Nvrtc, Path] | None:
    """Return NVRTC and the folder of the CUDA headers, or None where the registry's packages are not installed."""
    libraries = [path for folder in cuda_folders() for path in sorted(folder.glob("lib/libnvrtc*.so.*")) if ".alt." not in path.name]
    headers = [folder / "include" for folder in cuda_folders() if (folder / "include" / "cuda_fp16.h").is_file()]
    if not libraries or not headers:
        return None
    # libnvrtc-builtins sorts first: libnvrtc looks for it among what is loaded
    loaded = [ctypes.CDLL(str(path)) for path in libraries]
    return Nvrtc(loaded[-1]), headers[0]


def names() -> dict[str, str]:
    """Return name of an instance -> its header, of every kernel and helper."""
    return {name: kernel.header for kernel in (*ORDER, *HELPERS) for name in kernel.instances()}


@functools.cache
def _compiler() -> tuple[Nvrtc, Path]:
    found = compiler()
    assert found is not None
    return found


def complaint(name: str, header: str, architecture: str) -> str | None:
    """Return why an instance has no entry of its name in what NVRTC makes of it, or None."""
    nvrtc, include = _compiler()
    kernels = runtime.kernel_headers()
    assert kernels is not None
    try:
        binary, lowered = runtime.compile_kernel(nvrtc, name, header, architecture, (kernels, include))
    except CudaError as refusal:
        return str(refusal)
    return None if name.partition("<")[0] in lowered and lowered.encode() in binary else f"{name}: {lowered} is not in what NVRTC made"


def main(arguments: list[str] | None = None) -> int:
    """Compile, count, and name what does not compile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="compute_80", help="sm_.. for machine code, compute_.. for PTX (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the count to FILE")
    options = parser.parse_args(arguments)
    if compiler() is None:
        print("runtime_names: the packages nvidia-cuda-nvrtc and nvidia-cuda-runtime of the test extra are not installed", file=sys.stderr)
        return 2
    asked = names()
    with ProcessPoolExecutor(options.jobs) as pool:
        answers = list(pool.map(complaint, asked, asked.values(), [options.architecture] * len(asked)))
    wrong = [answer for answer in answers if answer is not None]
    print(*wrong, f"{len(asked) - len(wrong)} of {len(asked)} instances compiled for {options.architecture}", sep="\n")
    if options.json:
        options.json.write_text(json.dumps({"runtime_names": len(asked) - len(wrong)}) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
