"""The race check on wgmma and TMA: a right product in one block gives no report, a missing fence or wait always does."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from proof import builds

#: schedules that differ in who goes first and in when operations land
SCHEDULES = [("in-order", 0, "latest"), ("reverse", 0, "earliest"), ("random", 2, "random")]
NO_FENCE = r"a data race on byte .* an asynchronous operation .* no fence_async_proxy lies between them"
PLANTED = {
    "test_gemm_sm90<Correct>": "",
    "test_gemm_sm90<NoOutputFence>": r"the store_tile at gemm_sm90\.cuh:\d+ lands: " + NO_FENCE,
    "test_gemm_sm90<NoWaitForFull>": r"the wgmma at gemm_sm90\.cuh:\d+ lands: .*(a data race on|reads shared memory that nobody wrote)",
    "test_gemm_sm90<EarlyRelease>": r"the load_tile at gemm_sm90\.cuh:\d+ lands: a data race on",
    "test_gemm_sm90<NoOutputWait>": r"a data race on byte .* of dynamic shared memory",
    "test_wgmma_no_proxy_fence": r"the wgmma at test_kernels_wgmma\.cpp:\d+ lands: " + NO_FENCE,
    "test_wgmma_copied<false>": r"the wgmma at test_kernels_wgmma\.cpp:\d+ lands: " + NO_FENCE,
    "test_wgmma_copied<true>": "",
    "test_wgmma_overwritten": r"a data race on byte .* of dynamic shared memory",
}


def answer():
    """Be the process of the race build: print {kernel: [report, or "", in each schedule]}."""
    import dataclasses

    import numpy as np
    import test_sim_gemm_sm90
    import test_sim_wgmma

    from atrous.probes import gemm_sm90

    assert test_sim_wgmma.sim.build_info()["sanitizer"] == "race"
    probe = gemm_sm90.gemm("bfloat16", 264, 104, 328, 1)

    def report(kernel, schedule):
        try:
            if kernel.startswith("test_gemm_sm90"):
                y, expected = test_sim_gemm_sm90.multiply(dataclasses.replace(probe, kernel=kernel), "bfloat16", schedule)
                return "" if np.array_equal(y, expected) else "a wrong product"
            test_sim_wgmma.sim.set_schedule(*schedule)
            x = np.zeros(12288 + 16, np.uint8)
            x = x[-x.ctypes.data % 16 :][:12288]  # as cp.async needs it
            test_sim_wgmma.launch(kernel, x=x, y=np.zeros((64, 32), np.float32), shared=14 * 1024)
        except RuntimeError as failure:
            return str(failure)
        return ""

    print({kernel: [report(kernel, schedule) for schedule in SCHEDULES] for kernel in PLANTED})


@pytest.fixture(scope="module")
def reports():
    arguments, environment = builds.command("race")
    done = subprocess.run([*arguments, __file__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return eval(done.stdout)


@pytest.mark.parametrize("kernel", PLANTED)
def test_every_planted_mistake_is_reported_in_every_schedule(reports, kernel):
    for schedule, report in zip(SCHEDULES, reports[kernel]):
        if PLANTED[kernel] == "":
            assert report == "", schedule
        else:
            assert re.search(PLANTED[kernel], report), f"{schedule}: {report or 'no report'}"


if __name__ == "__main__":
    sys.exit(answer())
