"""Operands that touch memory no process may read: a stray access of one byte ends the process. Run as a script, in a process of its own."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import mmap
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from atrous import kernels, verify
from atrous.kernels import conv_direct, conv_igemm_sm80, conv_pool, pool
from atrous.problem import parse
from atrous.redzones import RED, Host

PIECE = 16  # bytes: addresses stay on it, so that every loader runs


class Fenced(Host):
    """Host memory in which an operand's first byte follows, or its last piece of 16 bytes precedes, pages that nobody may touch."""

    def __init__(self, behind: bool) -> None:
        self.behind = behind
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._maps: dict[int, Any] = {}

    def upload(self, image: np.ndarray) -> tuple[Any, int]:
        """Return memory that holds these bytes, red zones and all, with the operand against a page's edge."""
        page = mmap.PAGESIZE
        region = mmap.mmap(-1, (image.size // page + 4) * page)
        whole = np.frombuffer(region, np.uint8)
        edge = -(-(image.size - RED) // PIECE) * PIECE if self.behind else RED
        start = page - edge % page
        held = whole[start : start + image.size]
        held[:] = image
        self._maps[held.ctypes.data] = region
        return held, held.ctypes.data

    def guard(self, address: int, size: int, forbidden: bool) -> None:
        """Take the pages of one red zone away, or give all back."""
        page = mmap.PAGESIZE
        if not forbidden:
            first, end = address // page * page, -(-(address + size) // page) * page
        elif (address in self._maps) == self.behind:
            return  # the zone on the other side shares its page with the operand
        elif self.behind:
            first = -(-address // page) * page
            end = first + page
        else:
            first, end = (address + size) // page * page - page, (address + size) // page * page
        rights = mmap.PROT_READ | mmap.PROT_WRITE if not forbidden else 0
        if self._libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(end - first), rights) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")


def start(kernel: str, cases: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run this file in a process of its own, on the build of the simulator that this process has."""
    builds = Path(__file__).with_name("proof") / "builds.py"
    extension = importlib.import_module("atrous._sim").__file__
    return subprocess.run([sys.executable, str(builds), "exec", str(extension), __file__, kernel, *cases], capture_output=True, text=True)


def main(words: list[str]) -> int:
    """`fenced.py KERNEL CASE...` runs every launch of each case twice; 0: all right, a signal: a stray access."""
    faulthandler.enable()
    kernel, *cases = words
    if kernel == "conv_pool":  # which is offered where conv_igemm_sm80 is
        kernels.ORDER = verify.ORDER = (conv_igemm_sm80.KERNEL, conv_direct.KERNEL, pool.KERNEL, conv_pool.KERNEL)
    for behind in (True, False):
        prover = verify.Prover("simulated", kernel=kernel)
        prover.memory = Fenced(behind)
        for case in cases:
            print(case, "behind" if behind else "before", flush=True)
            prover.prove(parse(case), 1, [("in-order", 0, "latest")])
        if prover.ledger.failures:
            print(prover.ledger.failures[0])
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
