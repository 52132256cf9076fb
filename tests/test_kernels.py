"""Every kernel on every problem it accepts, on the simulator and beside it the array path: exact on whole numbers, bounded on others."""

from __future__ import annotations

import pytest
from doors import Public, run
from numpy.testing import assert_array_equal

from atrous import testing, verify
from atrous.engines import simulated
from atrous.problem import parse
from atrous.sampling import any_problem

BATCHES = 30
EXACT_IN_BATCH = 50

pytestmark = pytest.mark.skipif(simulated.available() is not None, reason=str(simulated.available()))


def prove(engine, first_seed, exact_problems):
    """Prove random problems until so many had one right answer to the bit; return the ledger."""
    prover = verify.Prover(engine)
    seed = first_seed
    while prover.ledger.exact_problems < exact_problems and not prover.ledger.failures:
        prover.prove(any_problem(seed), seed)
        seed += 1
    for failure in prover.ledger.failures:
        pytest.fail(f"{failure['what']}\nrerun: {failure['rerun']}")
    return prover.ledger


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_problems(batch, record_property):
    """Between red zones, in both index widths, in all orders and landings; odd addresses too."""
    ledger = prove("simulated", batch * 100_000, EXACT_IN_BATCH)
    assert ledger.exact_runs.total() >= 2 * ledger.exact_problems, "both index widths of at least one kernel"
    record_property("simulated_exact", ledger.exact_problems)
    record_property("simulated_launches_exact", ledger.exact_runs.total())
    record_property("simulated_bounded", ledger.bounded_runs.total())
    record_property("worst_ratio", ledger.worst_ratio)


@pytest.mark.parametrize("batch", range(BATCHES // 3))
def test_random_problems_on_the_array_path(batch):
    prove("arrays", batch * 100_000, 3 * EXACT_IN_BATCH)


def test_every_instance_runs(record_property):
    """What random problems reach seldom is drawn until it is there: no instance of the table stays unrun."""
    prover = verify.Prover("simulated", data="whole")
    names = verify.every_instance()
    assert prover.reach(names, 1, iter(range(50_000_000, 50_060_000))) == []
    assert not prover.ledger.failures, prover.ledger.failures
    record_property("instances", len(names))


@pytest.mark.parametrize("kernel", ["conv_direct", "conv_pointwise"])
def test_an_image_alone_or_in_a_batch_has_the_same_bits(kernel):
    """Batch invariance of the kernels, on floats whose sums round."""
    problem = parse("n9c24h7w6_k20r1s1_f32_bias" if kernel == "conv_pointwise" else "n9c24h7w6_k20r3s2_pad1_stride2x1_f32_bias")
    inputs = testing.random_inputs(problem, 5)
    together = run(Public("simulated", kernel), problem, inputs)
    for image in range(problem.n):
        one = {**inputs, "x": inputs["x"][image : image + 1].copy()}
        alone = run(Public("simulated", kernel), problem, one)
        assert_array_equal(alone[0].view("uint32"), together[image].view("uint32"))
