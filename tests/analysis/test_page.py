"""A comparison as an HTML page and as LaTeX: whole, harmless, and readable in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.analysis.comparison import Comparison, compare
from engine.analysis.export import to_csv, to_json, to_markdown
from engine.analysis.latex import to_latex
from engine.analysis.page import Curves, to_html
from engine.records import Curve, CurvePoint, Job
from tests.analysis.made import START, a_run, checkpoints, with_config

NAN = float("nan")
KEY = "hf_" + "a1B2c3D4" * 4
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</title><script>document.title='owned'</script>",
    "{{ 7 * 7 }} {% raw %}",
    "\\input{/etc/passwd} $x$ %",
    "a\x1b[31mb\u202ec\x00",
    "=HYPERLINK(1)",
)


def a_comparison(name: str = "run-02", **metadata: Any) -> Comparison:
    jobs = [a_run(1, 0.8), with_config(a_run(2, 1.0, name=name), training={"learning_rate": 5e-4})]
    saved = {job.id: checkpoints(job, [1.4, job.best_eval_loss or 1.0, 1.3]) for job in jobs}
    return compare(jobs, saved)


def curves_of(jobs: tuple[Job, ...], *extra: float) -> Curves:
    def curve(job: Job, metric: str, values: list[float]) -> Curve:
        points = tuple(CurvePoint(100.0 * at, value, value, value, 1) for at, value in enumerate(values, 1))
        return Curve(job.id, metric, "step", points, len(points))

    return {
        "step": {
            job.id: {
                "eval_loss": curve(job, "eval_loss", [1.4, job.best_eval_loss or 1.0, 1.3, *extra]),
                "loss": curve(job, "loss", [1.3, 0.9, 0.6]),
            }
            for job in jobs
        }
    }


class Page(HTMLParser):
    """What is in a page, as a parser sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(comparison: Comparison, **options: Any) -> tuple[str, Page]:
    text = to_html(comparison, options.pop("curves", curves_of(comparison.jobs)), now=START, **options)
    return text, Page(text)


def test_the_page_has_the_recommendation_the_table_the_curves_and_what_differs() -> None:
    text, page = page_of(a_comparison(), title="lr sweep", notes="first line\nsecond line")
    for words in ("lr sweep", "first line", "Keep run-01", "best eval loss", "learning_rate", "0.8000"):
        assert words in page.text
    svg = re.search(r"<svg viewBox=.*?</svg>", text, re.DOTALL)
    assert svg is not None
    drawn = ElementTree.fromstring(svg[0])
    assert len(drawn.findall("polyline")) == 4
    assert svg[0].count("★") == 2


def test_the_page_loads_and_runs_nothing() -> None:
    text, page = page_of(a_comparison())
    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "http:" not in text and "https:" not in text and "url(" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name: str) -> None:
    comparison = a_comparison(name)
    _, plain = page_of(a_comparison())
    text, page = page_of(comparison, title=name, notes=name)
    assert page.tags.count("p") == plain.tags.count("p") + 1
    assert [tag for tag in page.tags if tag != "p"] == [tag for tag in plain.tags if tag != "p"]
    assert not [attribute for attribute, _ in page.attributes if attribute.startswith("on")]
    assert not set(text) & set("\x00\x1b\u202e")
    assert "49" not in re.findall(r"<title>(.*?)</title>", text)
    latex = to_latex(comparison)
    assert latex.count("&") == to_latex(a_comparison()).count("&")
    assert "\\input" not in latex and not set(latex) & set("\x00\x1b\u202e")


@pytest.mark.parametrize(
    "curves",
    [{}, {"step": {}}, {"step": {"job-1": {}}}],
    ids=["none", "no runs", "no metrics"],
)
def test_a_page_without_curves_is_a_page(curves: Curves) -> None:
    text, page = page_of(a_comparison(), curves=curves)
    assert "polyline" not in text
    assert "Keep run-01" in page.text


def test_curves_of_one_point_of_no_numbers_and_of_equal_ones_are_drawn_or_left_out() -> None:
    jobs = a_comparison().jobs
    for values in ([NAN], [float("inf"), 1.0], [2.0, 2.0], [1e308, -1e308]):
        points = tuple(CurvePoint(float(at), value, value, value, 1) for at, value in enumerate(values))
        curves: Curves = {"step": {jobs[0].id: {"eval_loss": Curve("job-1", "eval_loss", "step", points, 1)}}}
        text, _ = page_of(a_comparison(), curves=curves)
        assert not re.search(r'points="[^"]*(nan|inf)', text)


def test_no_export_tells_a_secret() -> None:
    jobs = [
        a_run(1, 0.8, name=f"a {KEY}"),
        with_config(
            a_run(2, 1.0),
            model={"revision": KEY, "build": {"hub_token": "plain-secret-123", "layers": 2}},
            lora={"r": 8, "modules": [KEY]},
        ),
    ]
    comparison = compare(jobs, {})
    texts = [
        to_html(comparison, {}, title=KEY, notes=KEY),
        to_latex(comparison),
        to_markdown(comparison),
        to_csv(comparison),
        str(to_json(comparison)),
    ]
    for text in texts:
        assert KEY not in text and KEY.replace("_", r"\_") not in text
        assert "plain-secret-123" not in text
        assert re.search(r"secret\\?\]", text)


def test_latex_is_a_table_with_a_column_a_run_and_the_best_bold() -> None:
    text = to_latex(a_comparison())
    assert r"\begin{tabular}{lrr}" in text
    assert r"best eval loss & \textbf{0.8000} & 1.0000 (+25 \%) \\" in text
    assert r"learning\_rate & 0.0002 & 0.0005 \\" in text
    assert r"\caption{Keep run-01, checkpoint 200." in text
    assert "gradient norm" in to_latex(a_comparison(), all_rows=True)


def test_the_page_opens_in_a_browser_and_stays_what_it_is(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    comparison = a_comparison(HOSTILE[0])
    path, picture = tmp_path / "page.html", tmp_path / "page.png"
    path.write_text(page_of(comparison, title=f"{HOSTILE[1]} lr sweep")[0], encoding="utf-8")
    flags = ["--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    done = subprocess.run(
        [browser, *flags, "--dump-dom", path.as_uri()],
        capture_output=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    dom = Page(done.stdout)
    # Had anything run, the title would be another.
    assert re.search(r"<title>[^<]*lr sweep</title>", done.stdout)
    assert "script" not in dom.tags and "img" not in dom.tags
    assert dom.tags.count("polyline") == 4
    assert "Keep run-01" in dom.text
    subprocess.run(
        [browser, *flags, f"--screenshot={picture}", path.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
