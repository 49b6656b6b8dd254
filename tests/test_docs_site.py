"""The site of `make docs`: built strictly and without network, whole, and self-contained."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

import edge_se

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *(ROOT / "docs").rglob("*.md")]
NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise OSError("the site must be built without network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}

for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
    pytest.importorskip(package, reason="the site's tools are not installed: pip install 'edge-se[docs]'")


class Page(HTMLParser):
    """What the tests ask of one page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self._skip = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self._skip = tag in ("script", "style")
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if LOADED.get(tag) in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[LOADED[tag]])

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.append(data)

    @property
    def text(self) -> str:
        return plain("".join(self.words))


def plain(text: str) -> str:
    """Letters and digits alone: typography and markup differ."""
    return re.sub(r"\W+", " ", text).strip()


def address(source: Path, root: Path = ROOT) -> str:
    name = source.relative_to(root).as_posix().removeprefix("docs/").removesuffix(".md")
    return re.sub(r"(^|/)README$", r"\1index", name) + ".html"


def build(root: Path, out: Path, sitecustomize: Path) -> subprocess.CompletedProcess[str]:
    (sitecustomize / "sitecustomize.py").write_text(NO_NETWORK)
    path = os.pathsep.join([str(sitecustomize), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", root / "mkdocs.yml",
                           "--site-dir", out], capture_output=True, text=True, cwd=root,
                          env=os.environ | {"PYTHONPATH": path})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out, tmp_path_factory.mktemp("no-network"))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_is_there_whole_and_in_the_navigation(pages, source) -> None:
    name, text = address(source), source.read_text()
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    assert title and plain(title[1]) in pages[name].text
    last = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", text.strip().splitlines()[-1])
    assert source.name == "README.md" or last.startswith(("```", "<!--")) or plain(last) in pages[name].text
    assert name in {urlsplit(link).path for link in pages["index.html"].links} | {"index.html"}


def test_links_and_anchors_resolve(site, pages) -> None:
    broken, seen = [], 0
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            seen += 1
            here = site if parts.path.startswith("/") else (site / name).parent
            path = (here / unquote(parts.path).lstrip("/")).resolve() if parts.path else site / name
            path = path / "index.html" if path.is_dir() else path
            target = pages.get(path.relative_to(site).as_posix()) if path.is_relative_to(site) else None
            if not path.is_file() or (parts.fragment and unquote(parts.fragment) not in target.anchors):
                broken.append(f"{name}: {link}")
    assert not broken
    assert seen > 100


def test_nothing_is_loaded_from_elsewhere(site, pages) -> None:
    assert len(pages["index.html"].loaded) > 3
    foreign = [link for page in pages.values() for link in page.loaded if urlsplit(link).scheme not in ("", "data")]
    for sheet in site.rglob("*.css"):
        foreign += re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text())
    assert not foreign


@pytest.mark.parametrize("name", edge_se.__all__)
def test_the_reference_has_the_docstring(pages, name) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'edge-se[torch]'")
    page = pages["reference.html"]
    assert plain(inspect.getdoc(getattr(edge_se, name))) in page.text
    assert f"edge_se.{name}" in page.anchors


def test_the_command_page_has_every_command_and_option(pages) -> None:
    from edge_se.cli.whole import app

    text, group = " ".join(pages["commands.html"].words), typer.main.get_command(app)
    commands = dict(group.commands)
    for name in ("data", "models"):
        commands |= {f"{name} {part}": command for part, command in commands[name].commands.items()}
    assert {"export", "bench", "gate", "data fetch"} <= set(commands)
    for name, command in commands.items():
        assert f"edge-se {name}" in text
        options = [word for option in command.params for word in option.opts if word.startswith("--")]
        assert all(word in text for word in options), name
        assert plain(command.help) in plain(text)
    assert not re.search(r"[a-z][,:]?\.\.\.\s", text), "a line is cut short"


def test_every_schema_is_listed(pages) -> None:
    names = {path.name for path in (ROOT / "docs" / "schema").glob("*.json")}
    listed = {link for link in pages["schema/index.html"].links if link.endswith(".json")}
    assert names and names == listed, "docs/schema/README.md has a line for each"


def test_the_search_finds_every_page(site, pages) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert {entry["location"].partition("#")[0] or "index.html" for entry in found} == set(pages) - {"404.html"}


def test_light_and_dark(pages, site) -> None:
    schemes = re.findall(r'data-md-color-scheme="(\w+)" data-md-color-primary', (site / "index.html").read_text())
    assert {"default", "slate"} <= set(schemes)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The repository with documents of its own to alter."""
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", root / "docs")
    for path in ROOT.iterdir():
        if path.suffix == ".md":
            shutil.copy(path, root)
        elif path.name != "docs":
            (root / path.name).symlink_to(path)
    return root


def test_a_new_page_needs_no_entry(copy, tmp_path) -> None:
    for name in ("docs/studies/new.md", "docs/new.md"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("# A new page\n\nIts [figures](" + "../" * name.count("/") + "new.json).\n")
    (copy / "new.json").write_text("{}")
    done = build(copy, tmp_path / "site", tmp_path)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "site" / "index.html").read_text()
    assert 'href="studies/new.html"' in home and 'href="new.html"' in home
    assert (tmp_path / "site" / "new.json").read_text() == "{}"


def test_links_that_lead_nowhere_fail_the_build(copy, tmp_path) -> None:
    with (copy / "README.md").open("a") as readme:
        readme.write("\n[one](docs/gone.md) [two](docs/gate.md#gone) [three](docs/figures)\n")
    done = build(copy, tmp_path / "site", tmp_path)
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    for link in ("docs/gone.md", "docs/gate.md#gone", "docs/figures"):
        assert sum(f"'{link}'" in line for line in warnings) == 1
    assert len(warnings) == 3
