"""The page of measurements: opened in headless Chromium, it draws every layer, asks for nothing, and fits a phone, light and dark."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import made_results as made
import pytest
from browser import browser, complaints, look, luminance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import page  # noqa: E402

needs_browser = pytest.mark.skipif(browser() is None, reason="needs a browser of the Chromium family (apt-get install chromium)")
MOST_BYTES = 1_000_000


def rendered(folder, **documents):
    everything = {"suite": made.suite(), "facts": made.cpu_facts(), "scaling": made.scaling(), "issue": made.issue_cost(), **documents}
    return page.render(evidence.gather(made.write(folder, **everything)))


@needs_browser
@pytest.mark.parametrize("width", (1280, 360), ids=("wide", "phone"))
@pytest.mark.parametrize("dark", (False, True), ids=("light", "dark"))
def test_it_draws_and_complains_of_nothing(tmp_path, width, dark):
    found = look(rendered(tmp_path), tmp_path, width, dark)
    assert complaints(found) == []
    assert found["width"] == width
    assert found["layers"] == len(made.LAYERS) * len(made.BATCHES), "not every layer is a point under the roof"
    ink, paper = map(luminance, found["colours"])
    assert (ink > paper) == dark
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
    left, _, right, _ = found["tip"]["box"]
    assert not found["tip"]["hidden"] and found["tip"]["text"] and left >= 0 and right <= width


@needs_browser
def test_a_device_and_extreme_ratios_fit_too(tmp_path):
    speeds = {"atrous": lambda name, batch: 0.01 if "pool" in name else 2.0, "torch channels_last": lambda name, batch: 900.0 if "conv2" in name else 1.0}
    device = made.suite(speeds, batches=(1, 32, 256), metrics=("kernel", "wall"), where={**made.HEAD["where"], "gpu": made.GPU})
    found = look(rendered(tmp_path, device=device), tmp_path, 360)
    assert complaints(found) == []
    assert found["layers"] == len(made.LAYERS) * (2 + 3 * 2)


@needs_browser
def test_what_is_wrong_with_a_page_is_seen(tmp_path):
    bad = (
        '<!doctype html><html><head></head><body><img src="file:///nowhere/at-all.png"><svg aria-label="A" width="90" height="40"><rect width="9" height="9"/>'
        '<text x="5" y="20">one text</text><text x="9" y="22">another</text><circle cx="500" r="3"/></svg><svg aria-label="B" width="0" height="0"></svg>'
        '<div style="width: 3000px">wide</div><script>console.error("oh no"); undefined_name();</script></body></html>'
    )
    said = "\n".join(complaints(look(bad, tmp_path)))
    for part in ("oh no", "undefined_name", "at-all.png", "pixels wide", "'another' lies on 'one text'", "outside its plot", "B draws nothing"):
        assert part in said, part


def test_it_asks_for_nothing_outside_itself(tmp_path):
    text = rendered(tmp_path)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^"']*|url\(|@import|\bfetch\(|XMLHttpRequest|<link\b""", text)
    assert "default-src 'none'" in text and len(text.encode()) < MOST_BYTES


def test_losses_stand_first_and_names_are_text(tmp_path):
    text = rendered(tmp_path)
    assert text.index("Losses") < text.index("Families") < text.index("Whole networks") < text.index("Every layer against")
    assert "net/conv4 &lt;with &amp; in its name&gt;" in text and "<with" not in text
    assert "jax is not installed; pip install jax brings it." in text
    assert "never run on a device" in text
    device = made.suite(metrics=("kernel",), where={**made.HEAD["where"], "gpu": made.GPU})
    text = rendered(tmp_path, device=device)
    assert "On Some GPU" in text and "never run on a device" not in text


def test_roofs_are_drawn_only_where_they_were_measured_on_this_machine(tmp_path):
    text = rendered(tmp_path)
    assert 'class="roof"' in text and "120 GFLOP/s" in text
    other = made.cpu_facts() | {"where": {**made.HEAD["where"], "processor": "Another"}}
    text = rendered(tmp_path, facts=other)
    assert 'class="roof"' not in text and "No roofs are drawn" in text


def test_nothing_measured_gives_a_page_that_says_so():
    text = page.render(evidence.Evidence())
    assert "never run on a device" in text and "On a CPU" not in text
