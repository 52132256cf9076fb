"""Says which kernel takes a problem, and why each other one declines; needs no GPU."""

from __future__ import annotations

import argparse
import json

import atrous


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `atrous explain`."""
    parser.add_argument("case", metavar="CASE", help="case string, such as n1c64h56w56_k64r3s3_pad1_f16 or n1c64h112w112_max_r3s3_stride2_f16")
    parser.add_argument("--device", default=None, help="architecture to choose for, such as sm_80 or sm_90, or the index of a GPU (default sm_80)")
    parser.add_argument("--json", action="store_true", help="print one JSON list, a row a kernel")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation of one case string."""
    device = int(arguments.device) if arguments.device and arguments.device.isdigit() else arguments.device
    explanation = atrous.explain(arguments.case, device=device)
    if arguments.json:
        print(json.dumps(explanation.rows, default=str))
    else:
        print(explanation)
    return 0
