"""The figures of the scoreboard: what each means, the best that anyone else states, and the tool that measures it."""

from __future__ import annotations

from dataclasses import dataclass

NEVER = "never run on a device"


@dataclass(frozen=True)
class Figure:
    """One line of the scoreboard."""

    key: str  # in the tools' JSON; empty for a figure that only a device gives
    text: str
    anchor: str  # the best that is stated elsewhere
    unit: str = ""
    falls: bool = False  # whether less is better: reports, spills, lost bytes


FIGURES = (
    Figure("plain_exact", "random problems bit-exact on the simulator, one run", "PyTorch OpInfo 5,372 samples; oneDNN smoke 252"),
    Figure("sanitized_exact", "the same under AddressSanitizer and UndefinedBehaviorSanitizer", "nobody states one"),
    Figure("race_exact", "the same under the race check", "nobody"),
    Figure("reports", "reports of the three: wrong elements, sanitizer, race, red zones", "", falls=True),
    Figure("bounded_runs", "kernel runs on random floats, every element within the a priori bound", "nobody states a bound"),
    Figure("worst_ratio", "worst error of them, in units of the bound", "", falls=True),
    Figure("plain_instances_percent", "kernel instantiations run bit-exact", "nobody states one", "%"),
    Figure("race_instances_percent", "kernel instantiations run under the race check", "nobody", "%"),
    Figure("probe_instances", "instantiations of probes of single primitives and whole pipelines, on the plain, sanitized and race builds", "nobody"),
    Figure("schedules_least", "schedules a kernel, the least of all kernels", "1"),
    Figure("line_percent", "lines of kernel text that ran", "nobody", "%"),
    Figure("mutants_planted", "bugs planted in kernel text by script, the last full run", "nobody"),
    Figure("mutants_killed_percent", "of them killed, those that change no result set aside with a reason", "nobody", "%"),
    Figure("sample_killed_percent", "of today's sample of planted bugs killed", "nobody", "%"),
    Figure("bad_calls", "bad calls, each refused in a typed sentence, nothing launched", "PyTorch 100"),
    Figure("faults", "injected faults survived, the next call right", "nobody"),
    Figure("faults_wrong", "of them after which a call was wrong, an error had no type, or a byte was lost", "", falls=True),
    Figure("beyond_2e31", "launches of the first, a middle and the last block on more than 2^31 elements, every kernel and layout", "oneDNN 110 cases"),
    Figure("batch_invariant", "batch sizes, 1 to 64 for every operation, in which each image has the bits that it has alone", '"not guaranteed"'),
    Figure("traffic_depthwise", "bytes asked of global memory by depthwise layers of stride 1, in units of x, weights and y once, the worst", "", falls=True),
    Figure("traffic_depthwise_large", "the same of depthwise layers with windows of more than 7x7", "", falls=True),
    Figure("traffic_pool", "the same of pools whose windows do not overlap", "", falls=True),
    Figure("traffic_pool_overlap", "the same of pools whose windows overlap", "", falls=True),
    Figure("traffic_grouped", "the same of grouped convolutions", "", falls=True),
    Figure("traffic_conflicts", "bank conflicts for each shared-memory instruction of their main loops, the worst", "", falls=True),
    Figure("static_rows", "kernels x architectures whose registers and instructions are as committed", "nobody"),
    Figure("static_spills", "of them with spills or local arrays", "", falls=True),
    Figure("runtime_names", "instances that NVRTC compiles under the name that a launch carries", "nobody"),
    Figure("conformance_outputs", "outputs of primitives recorded on a GPU, replayed on the simulator", "nobody"),
    Figure("", "random problems on a GPU, accumulated", "oneDNN conv 454,000, pool 31,000"),
    Figure("", "run-to-run bits on 8 busy streams, 1,000 runs", "oneDNN 2 runs"),
    Figure("", "first call of a new shape / steady call", "2.3 s / 0.02 s (pytorch#2759)"),
)


def shown(figure: Figure, value: float | None) -> str:
    """Return a value as the table prints it."""
    if not figure.key:
        return NEVER
    if value is None:
        return "0 recorded" if figure.key == "conformance_outputs" else "not measured"

    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}".rstrip("0").rstrip(".")
    return text + (" " + figure.unit if figure.unit else "")
