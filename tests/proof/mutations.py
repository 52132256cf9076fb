"""Plants bugs in kernel text: every place where an operator applies is one mutant, named by its file, its line's words and the operator."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "csrc" / "include"


@dataclass(frozen=True)
class Mutant:
    """One planted bug: `column` of line `line` (from 0) of `file` reads `planted` where it read `original`."""

    identity: str  # survives edits elsewhere in the file
    file: str  # below csrc/include
    operator: str
    line: int
    column: int
    original: str
    planted: str
    text: str  # the line as it was

    def apply(self, text: str) -> str:
        """Return the text of the file with the bug in it."""
        lines = text.split("\n")
        line = lines[self.line]
        end = self.column + len(self.original)
        assert line[self.column : end] == self.original, f"{self.file}:{self.line + 1} is not the line that was read"
        lines[self.line] = line[: self.column] + self.planted + line[end:]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.file}:{self.line + 1}: {self.operator}: {self.original.strip()!r} becomes {self.planted.strip()!r} in: {self.text.strip()}"


def _swap(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """Return (pattern, replacement) of both directions; the words are written with a backslash before a dot."""
    return [(one, other.replace("\\", "")) for left, right in pairs for one, other in ((left, right), (right, left))]


_CALL = r"(?:\w+::)*"
#: operator -> (pattern, replacement); a replacement is a template of re's
OPERATORS: dict[str, list[tuple[str, str]]] = {
    "barrier left out": [
        (rf"(?<=[\s)]){_CALL}(?:sync_\w+|fence_\w+|arrive\w*|commit_\w+|wgmma_fence|wgmma_commit|init_barrier)(?:<[^;()]*>)?\([^;]*\);", ";"),
    ],
    "wait left out": [(rf"(?<=[\s)]){_CALL}(?:wait\w*|wgmma_wait)(?:<[^;()]*>)?\([^;]*\);", ";")],
    "wait too short": [(r"(?<=wait_copies|wait_stores)<([^>]+)>", r"<(\1) + 1>"), (r"(?<=wgmma_wait)<([^>]+)>", r"<(\1) + 1>")],
    "wrong phase": [(r" \^= 1\b", " ^= 0"), (r" \^ 1\b", ""), (r"(?<=, )(parity|phase)(?=\))", r"\1 ^ 1"), (r"(?<=, )0(?=\);)", "1")],
    "wrong bound": [(r" < ", " <= "), (r" <= ", " < "), (r" >= ", " > "), (r" > ", " >= ")],
    "wrong condition": [
        (r" && ", " || "), (r" \|\| ", " && "), (r" == ", " != "), (r" != ", " == "),
        (r"(?<=if \()!(?=\w)", ""), (r"(?<=\) )& (?=is_inside)", "| "),
    ],
    "wrong axis": [
        *((rf"(?<=\w){left}\b", right) for left, right in _swap(("_h", "_w"))),
        *((rf"\b{left}\b", right) for left, right in _swap(("pad_top", "pad_left"), ("pad_bottom", "pad_right"), (r"a\.p", r"a\.q"), (r"a\.r", r"a\.s"))),
        *((rf"\b{left}\b(?!_)", right) for left, right in _swap((r"a\.h", r"a\.w"), (r"rows\.", r"columns\."))),
    ],
    "wrong stride": [
        *((rf"(?<=stride)\[{left}\]", f"[{right}]") for left, right in ((0, 1), (1, 2), (2, 1), (3, 2))),
        (r"\bdilation_(?=[hw])", "stride_"), (r"\bx_stride\b", "y_stride"), (r"\by_stride\b", "x_stride"),
        (r"\bx_stride\b", "residual_stride"), (r"_pitch\b", "_step"),
    ],
    "wrong sum": [
        (r"(?<=[\w)\]]) \+ (?=[\w(])", " - "), (r"(?<=[\w)\]]) - (?=[\w(])", " + "),
        (r" \* (?=[\w(])", " + "), (r"(?<=[\w)\]]) % (?=[\w(])", " / "), (r"(?<=[\w)\]]) / (?=[\w(])", " * "),
    ],
    "off by one": [(r" \+ 1\b(?!\))", ""), (r" - 1\b", ""), (r" - 1\b(?=[;,)])", " - 2")],
    "wrong shift": [(r" << ", " >> "), (r" >>= ", " <<= "), (r"(?<=[\w)]) >> ", " << ")],
    "lost sum": [(r" \+= (?=[\w(])", " = "), (r" \+= (?=[\w(])", " -= ")],
    "narrow index": [(r"static_cast<Index>\(", "static_cast<int32>("), (r"\bconst Index (?=\w+ = )", "const int32 ")],
    "wrong choice": [(r" \? ([\w.:(){}]+) : ([\w.:(){}]+)(?=[;,)])", r" ? \2 : \1"), (r"\bmin\(", "max("), (r"\bmax\(", "min(")],
    "lost skip": [(r"\bcontinue;", ";"), (r"(?<=\) )return;", ";")],
}  # fmt: skip

#: a line that holds one of these declares; what it would change the compiler or nobody sees
_DECLARES = re.compile(
    r"^\s*(#|//|template\b|static_assert\b|using\b|namespace\b|struct\b|class\b|\}|enum\b)|__launch_bounds__|\bstatic constexpr\b|\boperator\b"
)


def of_file(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file of kernel text, in the order of its lines."""
    name = path.relative_to(TEXT).as_posix()
    seen: dict[str, int] = defaultdict(int)
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
        code = line.split("//")[0]
        if _DECLARES.search(code):
            continue
        for operator, rules in OPERATORS.items():
            if operator == "wrong axis" and "probes" in name:
                continue  # their arguments have no axes
            for pattern, replacement in rules:
                for found in re.finditer(pattern, code):
                    planted = found.expand(replacement)
                    words = f"{name}|{operator}|{' '.join(line.split())}|{found[0]}|{planted}"
                    seen[words] += 1
                    identity = hashlib.sha256(f"{words}|{seen[words]}".encode()).hexdigest()[:10]
                    yield Mutant(identity, name, operator, number, found.start(), found[0], planted, line)


def kernel_text() -> list[Path]:
    """Return the files to plant bugs in: kernel text without the primitives, whose host side is the model itself."""
    return sorted(path for path in (TEXT / "atrous").rglob("*.cuh") if path.parent.name != "prims")


def every() -> list[Mutant]:
    """Return every mutant of the kernel text."""
    return [mutant for path in kernel_text() for mutant in of_file(path)]


def spread(mutants: list[Mutant], count: int, seed: int = 0) -> list[Mutant]:
    """Return `count` mutants drawn so that every operator and every file has its turn: the rarest pairs first."""
    groups: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.operator, mutant.file].append(mutant)
    draw = random.Random(seed)
    waiting = sorted(groups)
    draw.shuffle(waiting)
    for group in groups.values():
        draw.shuffle(group)
    chosen: list[Mutant] = []
    while len(chosen) < min(count, len(mutants)):
        for key in waiting:
            if groups[key] and len(chosen) < count:
                chosen.append(groups[key].pop())
    return sorted(chosen, key=lambda mutant: (mutant.file, mutant.line, mutant.column, mutant.operator))
