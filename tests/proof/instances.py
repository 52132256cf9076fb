"""Lists how often every instance of a kernel was proved, and on which builds of the simulator, from what the campaigns wrote last."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("instances.tsv")
COLUMNS = ("exact runs", "bounded runs", "schedules", "sanitized runs", "race runs")
VARIANTS = ("plain", "sanitized", "race")


def last_runs() -> dict[str, dict[str, Any]] | None:
    """Return the last record of each variant's campaign in this tree, or None if one is missing."""
    files = {variant: ROOT / "build" / "proof" / f"{variant}.json" for variant in VARIANTS}
    if not all(file.is_file() for file in files.values()):
        return None
    return {variant: json.loads(file.read_text(encoding="utf-8"))["runs"][-1] for variant, file in files.items()}


def counts(records: dict[str, dict[str, Any]], names: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the figures of COLUMNS for each instance."""
    plain, sanitized, race = (records[variant] for variant in VARIANTS)
    exact, schedules = plain["exact_instances"], plain["instance_schedules"]
    return {
        name: (
            exact.get(name, 0),
            plain["instances"].get(name, 0) - exact.get(name, 0),
            schedules.get(name, 0),
            sanitized["instances"].get(name, 0),
            race["instances"].get(name, 0),
        )
        for name in names
    }


def text(rows: dict[str, tuple[int, ...]]) -> str:
    """Return the table: a line an instance, tabs between."""
    return "\n".join(["\t".join(("instance", *COLUMNS)), *("\t".join((name, *map(str, row))) for name, row in sorted(rows.items()))]) + "\n"


def committed() -> dict[str, tuple[int, ...]]:
    """Return the committed table."""
    _, *lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {name: tuple(map(int, figures)) for name, *figures in (line.split("\t") for line in lines)}


def complaints(rows: dict[str, tuple[int, ...]], names: list[str]) -> list[str]:
    """Return a sentence for every instance that is missing, unknown, or not proved in one of the ways."""
    found = [f"{name} is not among the proved instances; run the campaigns of all variants and tests/proof/instances.py" for name in names if name not in rows]
    found += [f"{name} is listed as proved, and no kernel has it" for name in rows if name not in names]
    for name, row in rows.items():
        found += [f"{name} has no {column}" for column, figure in zip(COLUMNS, row, strict=True) if figure == 0]
    return found


def main() -> int:
    """Write the table from the last campaigns; 0: every instance is proved in every way."""
    sys.path.insert(0, str(ROOT / "src"))
    from atrous.verify import every_instance

    records = last_runs()
    if records is None:
        print(f"instances: a campaign's record is missing in build/proof; expected one of each of {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    names = every_instance()
    rows = counts(records, names)
    TABLE.write_text(text(rows), encoding="utf-8")
    wrong = complaints(rows, names)
    print(*wrong, f"{len(rows)} instances, {len(wrong)} complaints", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
