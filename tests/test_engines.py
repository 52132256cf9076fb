"""The engines beside each other: one table of names, one layout of arguments, and sentences where one cannot run."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import random
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent / "proof"))

import runtime_names

from atrous.engines import compiled, runtime, simulated
from atrous.errors import CudaError, EngineUnavailable
from atrous.kernels import parameters
from atrous.launch import Launch

STRUCTS = (
    "Epilogue",
    "ConvArguments",
    "ElementwiseArguments",
    "FinishArguments",
    "FirstArguments",
    "DepthwiseArguments",
    "FirstPoolArguments",
    "GemmArguments",
    "LargeArguments",
    "PackArguments",
    "PatchArguments",
    "GroupedArguments",
    "PlaneRunsArguments",
    "PlanesArguments",
    "PoolArguments",
    "PoolBandsArguments",
    "PoolStreamArguments",
    "SeparableArguments",
    "ConvPoolArguments",
)
#: kernel -> the struct of its one argument
ARGUMENTS = {
    "conv_depthwise": parameters.DepthwiseArguments,
    "conv_depthwise_large": parameters.LargeArguments,
    "conv_depthwise_planes": parameters.PlaneRunsArguments,
    "conv_direct": parameters.ConvArguments,
    "conv_first": parameters.FirstArguments,
    "conv_first_pool": parameters.FirstPoolArguments,
    "conv_grouped": parameters.GroupedArguments,
    "conv_igemm_sm80": parameters.GemmArguments,
    "conv_pointwise": parameters.ConvArguments,
    "conv_pool": parameters.ConvPoolArguments,
    "conv_separable": parameters.SeparableArguments,
    "elementwise": parameters.ElementwiseArguments,
    "finish_splits": parameters.FinishArguments,
    "pack_weight": parameters.PackArguments,
    "pool": parameters.PoolArguments,
    "pool_bands": parameters.PoolBandsArguments,
    "pool_stream": parameters.PoolStreamArguments,
    "transpose": parameters.ElementwiseArguments,
}
NAMES = runtime_names.names()
SAMPLED = sorted(random.Random(0).sample(sorted(NAMES), 12))


def extension_or_skip(engine):
    """Return the extension of an engine, or skip with its own sentence."""
    module = engine._load()[0]
    if module is None:
        pytest.skip(str(engine._load()[1]))
    return module


@pytest.fixture(params=[compiled, simulated], ids=["compiled", "simulated"])
def extension(request):
    return extension_or_skip(request.param)


def test_every_name_that_can_be_asked_for_is_built(extension):
    built = [name for name in extension.kernels() if not name.startswith("probe_")]  # the probes are asked for by no description
    assert set(built) == set(NAMES)
    assert len(built) == len(NAMES)


def test_the_sizes_of_the_arguments(extension):
    for name in NAMES:
        assert extension.parameter_bytes(name) == ctypes.sizeof(ARGUMENTS[name.partition("<")[0]]), name


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_lies_where_its_mirror_lies(extension, struct):
    mirror = getattr(parameters, struct)
    expected = [(field, getattr(mirror, field).offset) for field, *_ in mirror._fields_]
    assert extension.layout(struct) == [*expected, ("sizeof", ctypes.sizeof(mirror))]


def test_no_struct_has_another_name(extension):
    assert extension.layout("Conv") == []


def test_window_arithmetic(extension):
    # 7 cells, 3 taps 2 apart span 5: windows start at -1, 1, 3, and with the ceiling none starts beyond
    assert extension.output_size(7, 3, 2, 2, 1, 1, False) == 3
    # 2 taps, stride 4: starts at 0, and at 4 from 6 cells on; the ceiling takes the start at 4 in 5 cells and at 8 in 9
    assert [extension.output_size(size, 2, 4, 1, 0, 0, False) for size in (5, 6, 7, 9)] == [1, 2, 2, 2]
    assert [extension.output_size(size, 2, 4, 1, 0, 0, True) for size in (5, 6, 7, 9)] == [2, 2, 2, 3]
    assert extension.output_size(2, 5, 3, 1, 0, 0, False) == 0
    zeros, reflect, replicate, circular = range(4)
    read = {mode: [extension.source_coordinate(mode, i, 4) for i in range(-2, 6)] for mode in range(4)}
    assert read[zeros] == [-1, -1, 0, 1, 2, 3, -1, -1]
    assert read[reflect] == [2, 1, 0, 1, 2, 3, 2, 1]
    assert read[replicate] == [0, 0, 0, 1, 2, 3, 3, 3]
    assert read[circular] == [2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("engine", [compiled, runtime, simulated], ids=lambda engine: engine.__name__.rpartition(".")[2])
def test_available_answers_none_or_a_sentence(engine):
    reason = engine.available()
    assert reason is None or len(reason.split()) >= 5
    facts = engine.describe()
    assert facts["engine"] == engine.__name__.rpartition(".")[2]
    assert facts["reason"] == reason


def test_what_was_built_is_on_record():
    record = compiled.build_record()
    if record["cuda"] == "yes":
        assert importlib.util.find_spec("atrous._cuda") is not None
        assert record["nvcc"] and record["nvcc_origin"] and "80" in record["architectures"]
    else:
        assert importlib.util.find_spec("atrous._cuda") is None
        assert len(record["reason"].split()) >= 5


def launch_of(name, size, **changes):
    facts = dict(name=name, header=NAMES.get(name, ""), grid=(1, 1, 1), block=(32, 1, 1), shared_bytes=0, parameters=bytes(size), pointers=("x", "y"))
    return Launch(**{**facts, **changes})


def test_compiled_says_that_nothing_was_built(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(compiled, "_RECORD", tmp_path / "_build.json")
    compiled._RECORD.write_text('{"cuda": "no", "reason": "ATROUS_CUDA=OFF asked for a build without CUDA"}')
    assert compiled._load.__wrapped__() == (None, "the CUDA extension was not built: ATROUS_CUDA=OFF asked for a build without CUDA")
    compiled._RECORD.unlink()
    assert "pure wheel" in compiled._load.__wrapped__()[1]


def test_compiled_says_that_the_built_extension_failed_to_load(monkeypatch):
    def fail(name):
        raise ImportError(f"{name}: libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", fail)
    module, reason = compiled._load.__wrapped__()
    assert module is None
    assert reason == "the CUDA extension was built but failed to load, because atrous._cuda: libcudart.so.13: cannot open shared object file"


def test_compiled_refuses_to_prepare_what_it_has_not_got(monkeypatch):
    monkeypatch.setattr(compiled, "_load", lambda: (None, "the CUDA extension was not built: no nvcc was found"))
    with pytest.raises(EngineUnavailable, match="no nvcc was found"):
        compiled.prepare(launch_of("conv_direct", 288))


def test_runtime_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert runtime._load.__wrapped__()[2] == "CuPy is not installed; pip install 'atrous[cu13]' brings it"
    monkeypatch.setattr(runtime, "_load", lambda: (None, (), "CuPy is not installed"))
    with pytest.raises(EngineUnavailable, match="CuPy is not installed"):
        runtime.prepare(launch_of("conv_direct", 288))


def test_runtime_declines_a_cluster(monkeypatch):
    monkeypatch.setattr(runtime, "_load", lambda: (object(), (), None))
    with pytest.raises(EngineUnavailable, match="cluster"):
        runtime.prepare(launch_of("conv_direct", 288, cluster=(2, 1, 1)))


class StubCupy:
    """As much of CuPy as a launch needs, with one device that writes down what it is asked."""

    class CUDADriverError(RuntimeError):
        pass

    def __init__(self):
        self.asked = []
        self.failure = None
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(getDevice=lambda: 0, CUDARuntimeError=self.CUDADriverError),
            driver=SimpleNamespace(CUDADriverError=self.CUDADriverError, funcSetAttribute=lambda *asked: self.asked.append(asked)),
            Device=lambda index: SimpleNamespace(compute_capability="90"),
            Module=lambda: SimpleNamespace(load=lambda binary: None, get_function=lambda lowered: self),
            nvrtc=SimpleNamespace(getSupportedArchs=lambda: (80, 90)),
        )
        self.ptr = 7

    def __call__(self, grid, block, arguments, shared_mem, stream):
        if self.failure:
            raise self.failure
        self.asked.append((grid, block, [bytes(argument) for argument in arguments], [argument.size for argument in arguments], shared_mem, stream.ptr))


def test_runtime_hands_the_struct_over_by_value(monkeypatch):
    cupy = StubCupy()
    monkeypatch.setattr(runtime, "_load", lambda: (cupy, (), None))
    monkeypatch.setattr(runtime, "compile_kernel", lambda *arguments: (b"", "lowered"))
    runtime._function.cache_clear()
    parameters_ = bytes(16) + bytes(range(16, 48))
    prepared = runtime.prepare(launch_of("conv_direct<...>", 0, grid=(5, 1, 1), parameters=parameters_, shared_bytes=60000))
    prepared.run((0x1122334455667788, 2**64 - 1), 42)
    image = struct.pack("<QQ", 0x1122334455667788, 2**64 - 1) + bytes(range(16, 48))
    assert cupy.asked == [(7, 8, 60000), ((5, 1, 1), (32, 1, 1), [image], [1], 60000, 42)]
    cupy.failure = StubCupy.CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    with pytest.raises(CudaError, match="CUDA_ERROR_INVALID_VALUE"):
        prepared.run((0, 0), 0)
    runtime._function.cache_clear()


def test_a_launch_that_fails_is_a_cuda_error():
    extension = extension_or_skip(compiled)
    name = sorted(NAMES)[0]
    # Where there is a device this block is too large for any, where there is none the driver is missing.
    prepared = compiled.prepare(launch_of(name, extension.parameter_bytes(name), block=(4096, 1, 1)))
    with pytest.raises(CudaError, match=r"CUDA error \d+, cudaError") as caught:
        prepared.run((0, 0), 0)
    assert name in str(caught.value)
    with pytest.raises(CudaError, match="1 pointers came; expected 2"):
        prepared.run((0,), 0)
    with pytest.raises(TypeError):
        prepared.run((0, "y"), 0)
    large = compiled.prepare(launch_of(name, extension.parameter_bytes(name), shared_bytes=2**20))
    with pytest.raises(CudaError, match=r"CUDA error \d+, cudaError"):
        large.run((0, 0), 0)


def test_compiled_refuses_a_wrong_name_or_size():
    extension = extension_or_skip(compiled)
    with pytest.raises(EngineUnavailable, match="conv_imaginary<float32>"):
        compiled.prepare(launch_of("conv_imaginary<float32>", 288))
    name = sorted(NAMES)[0]
    with pytest.raises(CudaError, match="7 bytes"):
        compiled.prepare(launch_of(name, 7, pointers=()))
    with pytest.raises(CudaError, match="expected the"):
        compiled.prepare(launch_of(name, extension.parameter_bytes(name), pointers=("x",) * 99))


def test_the_target_of_the_runtime_compiler():
    assert runtime.target(90, (75, 80, 90, 100)) == "sm_90a"
    assert runtime.target(86, (80, 86, 90)) == "sm_86"
    assert runtime.target(123, (75, 80, 90, 120)) == "compute_120"


@pytest.fixture(scope="module")
def nvrtc():
    """NVRTC and the folder of the CUDA headers."""
    found = runtime_names.compiler()
    if found is None:
        pytest.skip("the packages nvidia-cuda-nvrtc and nvidia-cuda-runtime of the test extra are not installed")
    return found


def test_the_headers_ship_with_the_package():
    folder = runtime.kernel_headers()
    assert folder is not None
    assert all((folder / header).is_file() for header in NAMES.values())


@pytest.mark.parametrize("architecture", ["compute_80", "sm_90a"])
@pytest.mark.parametrize("name", SAMPLED)
def test_the_runtime_compiler_takes_the_same_names(nvrtc, name, architecture):
    binary, lowered = runtime.compile_kernel(nvrtc[0], name, NAMES[name], architecture, (runtime.kernel_headers(), nvrtc[1]))
    assert name.partition("<")[0] in lowered
    if architecture == "compute_80":
        assert f".entry {lowered}(".encode() in binary
        assert b".target sm_80" in binary
    else:
        assert binary[:4] == b"\x7fELF" and lowered.encode() in binary


def test_a_kernel_that_does_not_compile_is_a_cuda_error_with_the_log(nvrtc):
    name = "conv_direct<float32, NoSuchLayout, int32, WideTile>"
    with pytest.raises(CudaError, match="NoSuchLayout") as caught:
        runtime.compile_kernel(nvrtc[0], name, "atrous/kernels/conv_direct.cuh", "compute_80", (runtime.kernel_headers(), nvrtc[1]))
    assert "undefined" in str(caught.value)
