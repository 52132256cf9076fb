"""The command line `atrous`: finds the subcommand, runs it, and turns refusals into one sentence and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from ..errors import AtrousError

#: subcommand -> what it does; each is a module here with `add_arguments(parser)` and `run(arguments) -> int`
COMMANDS = {
    "info": "version, engines and why each can or cannot run, GPU, what was built",
    "demo": "read handwritten digits with a trained network and draw what it sees",
    "verify": "prove this build here: random problems through every kernel, exact or within bounds",
    "bench": "time your own shapes, or a network's layers, beside other libraries, every result checked first",
    "explain": "which kernel takes a problem, and why each other one declines",
}

DONE, REFUSED, INTERRUPTED = 0, 1, 130  # argparse itself exits with 2 on bad usage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 done, 1 refused or failed, 2 bad usage.

    Examples
    --------
    >>> from atrous.cli import main
    >>> main(["explain", "n1c8h9w9_k8r3s3_f16", "--json"]) == 0  # doctest: +ELLIPSIS
    [...
    True
    """
    parser = argparse.ArgumentParser(prog="atrous", description="2-D convolution and pooling in hand-written CUDA kernels.")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {}
    for name, description in COMMANDS.items():
        modules[name] = importlib.import_module(f".{name}", __name__)
        modules[name].add_arguments(subcommands.add_parser(name, help=description, description=modules[name].__doc__))
    parsed = parser.parse_args(arguments)
    try:
        code: int = modules[parsed.command].run(parsed)
        sys.stdout.flush()
        return code
    except AtrousError as refusal:
        print(f"atrous {parsed.command}: {refusal}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        # the reader has gone (`atrous info | head`); the interpreter's own flush at exit must find an open file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
