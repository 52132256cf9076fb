"""Opens a page in headless Chromium at a width and in light or dark, and reports what it drew, where its texts lie, and what it complained of."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell", "chrome")
SECONDS = 120
#: runs in the page before anything of its own
PROBE = """
const found = { errors: [] };
addEventListener("error", (event) => found.errors.push(String(event.message || event.target.src || event.target.href)), true);
addEventListener("unhandledrejection", (event) => found.errors.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => found.errors.push("blocked: " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => found.errors.push(words.join(" "));
const box = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  found.width = innerWidth;
  found.scroll = document.documentElement.scrollWidth;
  found.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.drawings = [...document.querySelectorAll("svg")].map((svg) => ({
    label: svg.getAttribute("aria-label"), box: box(svg), shapes: svg.querySelectorAll("line, rect, circle").length,
    texts: [...svg.querySelectorAll("text")].map((text) => [text.textContent, ...box(text)]),
    circles: [...svg.querySelectorAll("circle")].map(box),
  }));
  found.layers = document.querySelectorAll("circle.layer").length;
  const style = getComputedStyle(document.body);
  found.colours = [style.color, style.backgroundColor];
  const tip = document.getElementById("tip"), point = document.querySelector("[data-tip]");
  if (tip && point) {
    point.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, clientX: innerWidth - 1, clientY: 1 }));
    found.tip = { hidden: tip.hidden, box: box(tip), text: tip.textContent };
  }
  parent.postMessage(JSON.stringify(found), "*");
});
"""
FRAME = """<!doctype html><html style="color-scheme: {scheme}"><body><pre id="said"></pre><script>
addEventListener("message", (event) => {{ document.getElementById("said").textContent = event.data; }});
</script><iframe src="probed.html" style="width: {width}px; height: 1200px; border: 0"></iframe></body></html>"""


def browser():
    """Return the path of a browser of the Chromium family, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def look(page, folder, width=1280, dark=False):
    """Return what the probe found in the text of a page."""
    assert page.count("<head>") == 1
    (folder / "probed.html").write_text(page.replace("<head>", f"<head><script>{PROBE}</script>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, scheme="dark" if dark else "light"), encoding="utf-8")
    words = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--hide-scrollbars"]
    words += [
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={max(width + 40, 600)},1400",
    ]
    words += ["--virtual-time-budget=4000", "--dump-dom", frame.as_uri()]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    said = re.search(r'<pre id="said">(.*?)</pre>', run.stdout, re.DOTALL)
    assert said and said[1], f"the page said nothing: {run.stderr[-2000:]}"
    return json.loads(html.unescape(said[1]))


def complaints(found):
    """Return, as sentences, what is wrong with what a page drew."""
    said = [f"the console says: {words}" for words in found["errors"]]
    said += [f"it asks for {name}" for name in found["requests"]]
    if found["scroll"] > found["width"]:
        said.append(f"it is {found['scroll']} pixels wide in a window of {found['width']}")
    for drawing in found["drawings"]:
        label, (left, top, right, bottom) = drawing["label"], drawing["box"]
        if right - left < 40 or bottom - top < 10 or not drawing["shapes"]:
            said.append(f"{label} draws nothing: {drawing['box']}, {drawing['shapes']} shapes")
        for words, start, _, end, _ in drawing["texts"]:
            if start < -0.5 or end > found["width"] + 0.5:
                said.append(f"{label}: {words!r} leaves the window")
        for index, (words, *one) in enumerate(drawing["texts"]):
            for others, *two in drawing["texts"][:index]:
                if min(one[2], two[2]) - max(one[0], two[0]) > 0.5 and min(one[3], two[3]) - max(one[1], two[1]) > 0.5:
                    said.append(f"{label}: {words!r} lies on {others!r}")
        for circle in drawing["circles"]:
            if circle[0] < left - 6 or circle[2] > right + 6 or circle[1] < top - 6 or circle[3] > bottom + 6:
                said.append(f"{label}: a point lies outside its plot")
    return said


def luminance(colour):
    """Return how light a colour "rgb(r, g, b)" is, 0 to 1, as the contrast of texts is reckoned."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
