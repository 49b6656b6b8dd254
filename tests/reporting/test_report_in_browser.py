"""The report in a real headless Chromium: renders at two widths in both colour schemes without a complaint."""

import html
import json
import re
import subprocess

import pytest

from edge_se.reporting.report.page import page

WIDTHS = (360, 1200)
SCHEMES = {"dark": 0, "light": 1}
DARK = "rgb(13, 17, 23)"
PROBE = """
<!DOCTYPE html><title>probe</title>FRAMES<pre id="told"></pre><script>
window.onload = () => {
  document.getElementById("told").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, all = [...page.querySelectorAll("details")];
    all.forEach(one => one.open = true);
    const width = page.documentElement.clientWidth;
    const boxes = [...page.querySelectorAll("svg.chart:not(.small)")].map(one => one.getBoundingClientRect());
    const small = [...page.querySelectorAll("svg.small")].map(one => one.getBoundingClientRect());
    const marks = [...page.querySelectorAll("svg.chart circle, svg.chart path, svg.chart rect, svg.chart text")];
    const seen = marks.map(one => one.getBoundingClientRect());
    return {width, scroll: page.documentElement.scrollWidth, charts: boxes.map(box => [box.width, box.height]),
      small: small.map(box => [box.width, box.top]),
      histograms: [...page.querySelectorAll("svg.histogram")].filter(one => one.clientWidth > 50).length,
      outside: seen.filter(box => box.left < -0.5 || box.right > width + 0.5).length, marks: seen.length,
      images: [...page.images].filter(one => one.complete && one.naturalWidth === 32).length,
      letters: getComputedStyle(page.querySelector("svg.chart text")).fontSize,
      scrollable: [...page.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth).length,
      background: getComputedStyle(page.body).backgroundColor};
  }));
};
</script>
"""


@pytest.fixture
def opened(chromium, tmp_path):
    """(HTML, scheme) -> (what the probe saw at each width, complaints of the console)."""

    def probe(source, scheme):
        frames = "".join(f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{html.escape(source)}">'
                         "</iframe>" for width in WIDTHS)
        path = tmp_path / "probe.html"
        path.write_text(PROBE.replace("FRAMES", frames), encoding="utf-8")
        done = subprocess.run(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
             f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
             "--window-size=1300,1000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, timeout=120)
        told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
        assert told, done.stderr[-2000:]
        return json.loads(html.unescape(told[1])), re.findall(r".*CONSOLE.*", done.stderr)
    return probe


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_renders_at_both_widths(opened, whole, scheme) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    found, complaints = opened(page(whole), scheme)
    assert not complaints
    assert [seen["width"] for seen in found] == list(WIDTHS)
    for seen in found:
        assert seen["scroll"] <= seen["width"], "the page scrolls sideways"
        assert len(seen["charts"]) == 2 and seen["marks"] > 30 and seen["outside"] == 0
        assert all(width > 0.6 * min(seen["width"], 1100) and height > 200 for width, height in seen["charts"])
        assert len(seen["small"]) == 2 and all(width > 240 for width, _ in seen["small"])
        assert seen["histograms"] == 4 and seen["images"] == 4  # two tensors, shown twice
        assert seen["letters"] == "12px"
        assert (seen["background"] == DARK) == (scheme == "dark")
    assert found[0]["scrollable"] > found[1]["scrollable"], "wide tables scroll in their own box on a phone"
    below, beside = ([top for _, top in seen["small"]] for seen in found)
    assert below[0] < below[1] and beside[0] == beside[1], "small charts stand beside each other where there is room"


@pytest.mark.slow
def test_hostile_names_neither_run_nor_widen_the_page(opened, hostile) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    found, complaints = opened(page(hostile), "light")
    assert not complaints
    assert all(seen["scroll"] <= seen["width"] and len(seen["charts"]) == 2 for seen in found)


@pytest.mark.slow
def test_the_probe_hears_the_console_and_sees_a_page_that_is_too_wide(opened, whole) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'edge-se[report]'")
    wide = page(whole).replace("<main>", '<main><div style="width: 2000px">x</div><script>let x = 1</script>')
    found, complaints = opened(wide, "light")
    assert all(seen["scroll"] > seen["width"] for seen in found)
    assert complaints and "Content Security Policy" in complaints[0]
