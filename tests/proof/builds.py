"""Builds variants of the simulator with g++ alone (plain, sanitized, race check, coverage), and starts Python on one of them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import runpy
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "proof"
MODULE = "atrous._sim"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

#: of every variant: as cmake/simulator.cmake has them, but for the level of optimisation
COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffp-contract=off", "-Wno-unknown-pragmas", "-Wno-psabi")
DEFINITIONS = ("-DATROUS_SIMULATED", '-DATROUS_ARCHITECTURES="host"', '-DATROUS_NVCC_VERSION="none"')
INCLUDES = ("-Icsrc/sim/include", "-Icsrc/include", "-Icsrc", "-include", "atrous_sim/cuda_words.hpp")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1")
#: what a hook of the race check would not see: these calls of kernel text go to functions of csrc/sim/tsan_hooks.cpp
WATCHED_CALLS = ("memcpy", "memmove", "memset")
#: an access of the text stays one access: the compiler puts no neighbouring elements together (a Vec it may not take apart)
SINGLE_ACCESSES = ("-fno-tree-vectorize", "-fno-store-merging")


@dataclass(frozen=True)
class Variant:
    """How to compile one variant: the machine, the kernels' text, and the whole."""

    machine: tuple[str, ...]
    kernels: tuple[str, ...]  #: csrc/instances/*.cu and csrc/sim/test_kernels*.cpp
    link: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()  #: libraries that must be loaded before Python is
    environment: dict[str, str] = field(default_factory=dict)
    watches_calls: bool = False


VARIANTS = {
    "plain": Variant(("-O2",), ("-O2",)),
    "sanitized": Variant(
        ("-O1", *SANITIZERS),
        ("-O1", *SANITIZERS),
        SANITIZERS,
        # The C++ library too: AddressSanitizer looks for its throw when it starts.
        ("libasan.so", "libubsan.so", "libstdc++.so"),
        {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"},
    ),
    # Below -O2 g++ does not instrument reads of small structs by value, and half is one; and it never instruments what
    # it expands of memcpy, memset and the loops that it takes for them.
    "race": Variant(
        ("-O2", "-DATROUS_SIM_RACE"),
        (
            *("-O2", "-DATROUS_SIM_RACE", "-g1", "-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"),
            *(f"-fno-builtin-{name}" for name in WATCHED_CALLS),
            "-fno-tree-loop-distribute-patterns",
            *SINGLE_ACCESSES,
        ),
        watches_calls=True,
    ),
    "coverage": Variant(("-O1",), ("-O0", "--coverage", "-fprofile-abs-path"), ("--coverage",)),
}


def build(variant: str, jobs: int = 2, source: Path = ROOT, out: Path | None = None) -> Path:
    """Build a variant of the simulator from the tree `source`, and return the extension's path.

    Objects are kept in build/proof of this repository under a hash of everything that went into them, so a copy of the
    tree with one header changed compiles only what includes it. `out`: the folder for the extension of such a copy.
    """
    recipe = VARIANTS[variant]
    kept = BUILT / variant
    kept.mkdir(parents=True, exist_ok=True)
    target = (out or kept) / f"_sim{SUFFIX}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(kept / "lock"):
        # The largest first. The machine's own objects go first to the linker: of an inline function that the kernels'
        # text instantiates too it takes the first, and the machine must not run instrumented ones.
        units = sorted(sources(source), key=lambda unit: -(source / unit).stat().st_size)
        with ThreadPoolExecutor(jobs) as pool:
            objects = dict(zip(units, pool.map(lambda unit: _object(recipe, unit, source, kept, source == ROOT), units)))
        ordered = [str(objects[unit]) for unit in sorted(units, key=lambda unit: (is_kernel_text(unit), unit))]
        stamp = target.with_suffix(".stamp")
        wanted = hashlib.sha256("\n".join((*ordered, *recipe.link)).encode()).hexdigest()
        if not target.exists() or not stamp.exists() or stamp.read_text() != wanted:
            partial = target.with_suffix(".partial")
            _call(["g++", "-shared", "-Wl,-z,now", "-o", str(partial), *ordered, *recipe.link], source)
            partial.replace(target)
            stamp.write_text(wanted)
    return target


def object_of(variant: str, unit: Path) -> Path:
    """Return the object of one source of this tree, beside which those of changed copies may lie."""
    return _object(VARIANTS[variant], unit, ROOT, BUILT / variant, True)


def sources(source: Path = ROOT) -> list[Path]:
    """Return what the extension is made of, relative to the tree."""
    patterns = ("csrc/sim/*.cpp", "csrc/instances/*.cpp", "csrc/instances/*.cu", "csrc/runtime_calls.cpp", "csrc/*module.cpp")
    return sorted(path.relative_to(source) for pattern in patterns for path in source.glob(pattern))


def is_kernel_text(unit: Path) -> bool:
    """Return whether a source holds kernels, rather than the machine that runs them.

    Those of asynchronous operations count as the machine: their closures live on a heap, which no kernel has and the race
    check does not know.
    """
    return unit.suffix == ".cu" or (unit.name.startswith("test_kernels") and unit.name != "test_kernels_flights.cpp")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process at a time build a variant."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _object(recipe: Variant, unit: Path, source: Path, kept: Path, is_own_tree: bool) -> Path:
    """Return the object of one source, compiled unless one of these very inputs is kept."""
    stem = "-".join(unit.with_suffix("").parts[1:])
    flags = (*COMMON, *DEFINITIONS, *(recipe.kernels if is_kernel_text(unit) else recipe.machine))
    listed = kept / f"{stem}.inputs"
    if listed.exists():
        inputs = listed.read_text().splitlines()
        if all((source / path).exists() for path in inputs):
            found = kept / f"{stem}.{_hash(source, inputs, flags)}.o"
            if found.exists():
                return found
    fresh = kept / f"{stem}.o"  # --coverage calls its files after it
    made = kept / f"{stem}.d"
    _call(["nice", "g++", *flags, *INCLUDES, *_python_includes(), "-MMD", "-MF", str(made), "-x", "c++", "-c", str(unit), "-o", str(fresh)], source)
    if recipe.watches_calls and is_kernel_text(unit):
        _call(["objcopy", *(f"--redefine-sym={name}=atrous_race_{name}" for name in WATCHED_CALLS), str(fresh)], source)
    words = made.read_text().replace("\\\n", " ").split()[1:]
    inputs = sorted({Path(word).as_posix() for word in words if not Path(word).is_absolute()})
    result = kept / f"{stem}.{_hash(source, inputs, flags)}.o"
    if is_own_tree:
        for old in (*kept.glob(f"{stem}.*.o"), *kept.glob(f"{stem}.gcda")):
            old.unlink()
    fresh.replace(result)
    made.unlink()
    listed.write_text("\n".join(inputs))
    return result


def _hash(source: Path, inputs: list[str], flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join((*flags, *INCLUDES, *_python_includes())).encode())
    for path in inputs:
        digest.update(path.encode() + b"\0" + hashlib.sha256((source / path).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _python_includes() -> tuple[str, ...]:
    import pybind11

    return f"-I{sysconfig.get_path('include')}", f"-I{pybind11.get_include()}"


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")


def command(variant: str, extension: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Return (arguments, environment): followed by `-m MODULE ...` or `SCRIPT ...` they run it on that variant.

    The package comes from this repository's src; `extension`: the path that `build` returned, which is built if absent.
    """
    recipe = VARIANTS[variant]
    path = extension or build(variant)
    environment = {**os.environ, **recipe.environment}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    if recipe.preload:
        environment["LD_PRELOAD"] = " ".join(_library(name) for name in recipe.preload)
    return [sys.executable, str(Path(__file__).resolve()), "exec", str(path)], environment


def _library(name: str) -> str:
    return subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


def load(path: str | Path) -> ModuleType:
    """Put the extension at `path` in the place of atrous._sim, before anything has imported that; return it."""
    if MODULE in sys.modules:
        raise RuntimeError(f"{MODULE} is loaded already, from {sys.modules[MODULE].__file__}")
    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path))
    spec = importlib.util.spec_from_file_location(MODULE, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[MODULE] = module
    return module


def execute(path: str, arguments: list[str]) -> None:
    """Run `-m MODULE ...` or `SCRIPT ...` with the extension at `path`."""
    load(path)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    runpy.run_path(arguments[0], run_name="__main__")


def main(arguments: list[str]) -> int:
    """`builds.py VARIANT ...` builds and prints the seconds; `builds.py exec EXTENSION SCRIPT ...` runs Python on one."""
    if len(arguments) >= 3 and arguments[0] == "exec":
        execute(arguments[1], arguments[2:])
        return 0
    if not arguments or any(variant not in VARIANTS for variant in arguments):
        print(f"usage: builds.py [{' | '.join(VARIANTS)}]... or builds.py exec EXTENSION SCRIPT ...", file=sys.stderr)
        return 2
    for variant in arguments:
        start = time.monotonic()
        path = build(variant)
        print(f"{variant}: {path}, {path.stat().st_size / 1e6:.1f} MB, in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
