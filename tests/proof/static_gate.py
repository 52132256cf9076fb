"""What nvcc made of every kernel: registers, stack, shared bytes and instructions, read from the built extension and held to a committed table."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, fields
from pathlib import Path

TABLE = Path(__file__).with_name("static_table.tsv")
DISASSEMBLERS = ("cuobjdump", "nvdisasm")


@dataclass(frozen=True)
class Row:
    """One kernel on one architecture."""

    architecture: str
    kernel: str
    registers: int
    stack_bytes: int
    shared_bytes: int  # static
    instructions: int
    local: int  # LDL and STL: spills, and arrays that found no registers
    mma: int  # HMMA, IMMA
    wgmma: int  # HGMMA, IGMMA, QGMMA
    load_matrix: int  # LDSM, STSM
    async_copy: int  # LDGSTS
    tensor_copy: int  # UTMALDG, UTMASTG, UBLKCP, UBLKPF
    barriers: int  # BAR, SYNCS


#: column of Row -> the opcodes that it counts, by their first word
OPCODES = {
    "local": ("LDL", "STL"),
    "mma": ("HMMA", "IMMA"),
    "wgmma": ("HGMMA", "IGMMA", "QGMMA"),
    "load_matrix": ("LDSM", "STSM"),
    "async_copy": ("LDGSTS",),
    "tensor_copy": ("UTMALDG", "UTMASTG", "UBLKCP", "UBLKPF"),
    "barriers": ("BAR", "SYNCS"),
}
COLUMNS = tuple(field.name for field in fields(Row))


def extension() -> Path | None:
    """Return the file of the installed CUDA extension, or None; by its name, since a test may have another in its place."""
    found = importlib.util.find_spec("atrous")
    folders = [] if found is None else found.submodule_search_locations or []
    return next((path for folder in folders for path in sorted(Path(folder).glob("_cuda.*.so"))), None)


def tools() -> dict[str, str]:
    """Return the path of each disassembler: from the registry's wheels, or from the system's toolkit; without those that are nowhere."""
    wheels = Path(sysconfig.get_paths()["purelib"], "nvidia", "cu13", "bin")
    found = {name: shutil.which(name, path=str(wheels)) or shutil.which(name) for name in DISASSEMBLERS}
    return {name: path for name, path in found.items() if path}


def missing() -> str | None:
    """Return why the table cannot be read here, or None."""
    if extension() is None:
        return "this build has no CUDA extension: there is no device code to read"
    absent = [name for name in DISASSEMBLERS if name not in tools()]
    return f"{' and '.join(absent)} not found; expected the wheels nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm" if absent else None


def _dump(option: str, binary: Path) -> str:
    paths = tools()
    environment = {**os.environ, "NVDISASM_PATH": str(Path(paths["nvdisasm"]).parent)}
    environment["PATH"] = environment["NVDISASM_PATH"] + os.pathsep + environment.get("PATH", "")
    return subprocess.run([paths["cuobjdump"], option, str(binary)], env=environment, check=True, capture_output=True, text=True).stdout


def _plain_names(mangled: list[str]) -> dict[str, str]:
    """Return mangled name -> the name as a person writes it: "conv_direct<float, Nhwc, int, WideTile>"."""
    text = subprocess.run(["c++filt"], input="\n".join(mangled), check=True, capture_output=True, text=True).stdout
    plain = {}
    for name, line in zip(mangled, text.splitlines(), strict=True):
        line = re.sub(r"\(anonymous namespace\)::", "", line)
        plain[name] = re.sub(r"\batrous::", "", re.sub(r"\([^()]*\)$", "", line)).removeprefix("void ")
    return plain


def read(binary: Path) -> list[Row]:
    """Return a row for every kernel and architecture in a binary."""
    usage = {}
    architecture = ""
    for line in _dump("-res-usage", binary).splitlines():
        if found := re.match(r"arch = (\S+)", line.strip()):
            architecture = found[1]
        elif found := re.match(r"Function (\S+):", line.strip()):
            name = found[1]
        elif found := re.match(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", line.strip()):
            usage[architecture, name] = tuple(int(figure) for figure in found.groups())
    opcodes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in _dump("-sass", binary).splitlines():
        if found := re.match(r"\s*(?:arch = |code for )(\S+)", line):
            architecture = found[1]
        elif found := re.match(r"\s*Function : (\S+)", line):
            name = found[1]
        elif found := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_]*)", line):
            opcodes[architecture, name][found[1]] += 1
    plain = _plain_names(sorted({name for _, name in usage}))
    rows = []
    for (architecture, name), (registers, stack, shared) in usage.items():
        counts = opcodes[architecture, name]
        sums = [sum(counts[word] for word in words) for words in OPCODES.values()]
        rows.append(Row(architecture, plain[name], registers, stack, shared, sum(counts.values()) - counts["NOP"], *sums))
    return sorted(rows, key=lambda row: (row.architecture, row.kernel))


def compiler() -> str:
    """Return the nvcc that built the installed extension: "nvcc 13.0.88"."""
    record = json.loads(extension().with_name("_build.json").read_text(encoding="utf-8"))
    return f"nvcc {record['nvcc']}"


def write(rows: list[Row], path: Path = TABLE) -> None:
    """Write the table, the compiler's version on its first line."""
    lines = [f"# {compiler()}", "\t".join(COLUMNS), *("\t".join(map(str, astuple(row))) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def committed(path: Path = TABLE) -> tuple[str, dict[tuple[str, str], Row]]:
    """Return the committed table: its compiler, and its rows by architecture and kernel."""
    first, _, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for line in lines:
        architecture, kernel, *figures = line.split("\t")
        rows.append(Row(architecture, kernel, *map(int, figures)))
    return first.removeprefix("# "), {(row.architecture, row.kernel): row for row in rows}


def complaints(rows: list[Row], table: dict[tuple[str, str], Row], same_compiler: bool) -> list[str]:
    """Return a sentence for every kernel that spills, and for every figure that is not the committed one.

    With another compiler than the table's, only what must hold for any compiler is asked: no local memory, and tensor
    instructions, matrix loads and asynchronous copies wherever the table has some.
    """
    found = []
    for row in rows:
        where = f"{row.kernel} on {row.architecture}"
        if row.local or row.stack_bytes:
            found.append(f"{where} keeps {row.stack_bytes} bytes on a stack and accesses local memory in {row.local} instructions; expected none")
        old = table.get((row.architecture, row.kernel))
        if old is None:
            found.append(f"{where} is not in the table; run `python tests/proof/static_gate.py --write` and commit it")
            continue
        for name in COLUMNS[2:]:
            now, then = getattr(row, name), getattr(old, name)
            if now != then and (same_compiler or (name in list(OPCODES)[1:] and not (now and then))):
                found.append(f"{where}: {name} is {now}; the committed table says {then}")
    present = {row.architecture for row in rows}
    missing_rows = {key for key in table if key[0] in present} - {(row.architecture, row.kernel) for row in rows}
    return found + [f"{kernel} on {architecture} is in the table, not in the build" for architecture, kernel in sorted(missing_rows)]


def main(arguments: list[str] | None = None) -> int:
    """Compare the installed extension with the table, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the installed extension's figures the table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    options = parser.parse_args(arguments)
    if reason := missing():
        print(f"static gate: {reason}", file=sys.stderr)
        return 2
    rows = read(extension())
    if options.write:
        write(rows)
    version, table = committed()
    found = complaints(rows, table, same_compiler=version == compiler())
    print("\n".join(found), file=sys.stderr) if found else None
    if options.json:
        spilling = sum(row.local > 0 or row.stack_bytes > 0 for row in rows)
        options.json.write_text(json.dumps({"static_rows": len(rows), "static_spills": spilling}) + "\n", encoding="utf-8")
    print(f"{len(rows)} kernels on {len({row.architecture for row in rows})} architectures, {len(found)} complaints; table of {version}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
