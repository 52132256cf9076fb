"""Runs every probe of a primitive on the sanitized build and on the race check, under every schedule, beside what the plain build gave.

python tests/proof/probe_runs.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import builds

HERE = Path(__file__).resolve().parent
VARIANTS = ("plain", "sanitized", "race")


def main(arguments: list[str] | None = None) -> int:
    """Record the probes on the plain build, and run them on every one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(builds.ROOT / "src"))
    from atrous.probes import every_probe

    headers = sorted({probe.header for probe in every_probe().values()})
    baseline = builds.BUILT / "probes.npz"
    battery = str(HERE / "mutant_battery.py")
    reports = 0
    for variant, words in (("plain", ["record", str(baseline)]), *((variant, [variant, str(baseline), *headers]) for variant in VARIANTS)):
        command, environment = builds.command(variant)
        done = subprocess.run([*command, battery, *words], env=environment, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reports += 1
            print(f"{variant}: {(done.stdout + done.stderr)[-2000:]}", file=sys.stderr)
    instances = {probe.kernel for probe in every_probe().values()}
    print(f"{len(every_probe())} probes, {len(instances)} instances, {reports} reports of {len(VARIANTS)} builds")
    if options.json:
        options.json.write_text(json.dumps({"probes": len(every_probe()), "probe_instances": len(instances), "reports": reports}) + "\n", encoding="utf-8")
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
