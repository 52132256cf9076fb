"""Reads cases/*.txt: one problem per line, with a name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent / "cases"


class Case(NamedTuple):
    """One line: `name  case string  xN  # why`, the count (default x1) and the reason optional."""

    name: str  # with the file's: "resnet50/conv1"
    text: str
    count: int
    why: str


def read_cases(path):
    """Return the cases of one file, in its order."""
    path = Path(path)
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fields, _, why = line.partition("#")
        words = fields.split()
        if not words:
            continue
        count = words[2] if len(words) == 3 else "x1"
        if len(words) not in (2, 3) or not (count[0] == "x" and count[1:].isdigit()):
            raise ValueError(f"{path.name}:{number}: {line!r}; expected 'name  case  xN  # why', xN and why optional")
        found.append(Case(f"{path.stem}/{words[0]}", words[1], int(count[1:]), why.strip()))
    return found


def all_cases():
    """Return the cases of every file."""
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in read_cases(path)]
