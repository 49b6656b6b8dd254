"""Hook of `mkdocs build`: which files the site is made of, each named by its path in the repository.

Besides docs/ these are README.md (the landing page), CHANGELOG.md and CONTRIBUTING.md, every file of the repository
that a page links to, and two pages that are generated and never committed: the command line from the Typer application,
the Python reference from the names in `edge_se.__all__`. mkdocs resolves links by the name of the source, so the
Markdown is used as it is; docs/gate.md still becomes gate.html. Patterns in `nav` become the pages that they stand for.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files, InclusionLevel

import edge_se

ROOT = Path(__file__).parents[1]
AT_THE_TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
LINK = re.compile(r"\]\(([^)\s#]+)")
# What the functions of the API take and return, but for what the API names itself. A dataclass shows its fields in its
# signature; those of the pydantic model are asked for.
TYPES = ("edge_se.core.artifacts.Build", "edge_se.core.artifacts.Artifact", "edge_se.core.progress.Progress",
         "edge_se.evaluation.settings.Settings\n    options: { show_if_no_docstring: true }")


@event_priority(100)  # before the plugins that look for pages
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site; those of the theme pass through."""
    docs = Path(config.docs_dir).relative_to(ROOT).as_posix()
    site = Files([])
    for file in files:
        mine = file.src_dir == config.docs_dir
        site.append(_file(f"{docs}/{file.src_uri}", config, file.dest_uri, file.inclusion) if mine else file)
    for name in AT_THE_TOP:
        site.append(_file(name, config))
    for name, text in (("commands", commands()), ("reference", reference())):
        page = File.generated(config, f"{docs}/{name}.md", content=text)
        page.dest_uri = f"{name}.html"
        site.append(page)
    config.nav = expanded(config.nav or [], sorted(file.src_uri for file in site.documentation_pages()))
    _add_linked(site, config)
    return site


def _file(name: str, config: MkDocsConfig, address: str | None = None,
          inclusion: InclusionLevel = InclusionLevel.UNDEFINED) -> File:
    return File(name, str(ROOT), config.site_dir, config.use_directory_urls, dest_uri=address, inclusion=inclusion)


def _add_linked(site: Files, config: MkDocsConfig) -> None:
    """Files outside docs/ that a page links to, and what these link to; no page of the navigation."""
    pages = [file for file in site.documentation_pages() if file.generated_by is None]
    while pages:
        page = pages.pop()
        for link in LINK.findall(page.content_string):
            name = os.path.normpath(Path(page.src_uri).parent / link)
            if not (ROOT / name).is_file() or name.startswith("..") or site.get_file_from_path(name):
                continue
            file = _file(name, config, inclusion=InclusionLevel.NOT_IN_NAV)
            site.append(file)
            if file.is_documentation_page():
                pages.append(file)


def expanded(nav: list[Any], names: list[str]) -> list[Any]:
    """`nav` with each pattern replaced by those pages of `names` that fit it and that no other entry names.

    As in a shell, a star stays within its folder.
    """
    free = [name for name in names if name not in set(_named(nav))]

    def whole(part: Any) -> list[Any]:
        if isinstance(part, str):
            return [name for name in free if PurePosixPath(name).match(part)] if "*" in part else [part]
        if isinstance(part, list):
            return [entry for each in part for entry in whole(each)]
        return [{title: inner if isinstance(inner, str) and "*" not in inner else whole(inner)}
                for title, inner in part.items()]

    return whole(nav)


def _named(nav: Any) -> Iterator[str]:
    """Every name and pattern of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)


def commands() -> str:
    """Markdown of every command with its options, by Typer."""
    done = subprocess.run([sys.executable, "-m", "typer", "edge_se.cli.whole", "utils", "docs", "--name", "edge-se",
                           "--title", "Commands"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise PluginError(f"typer cannot describe edge_se.cli.whole: {done.stderr}")
    text = done.stdout

    def whole(entry: re.Match[str]) -> str:
        full = re.search(rf"^{re.escape(entry[2])}.*$", text, re.MULTILINE)
        return entry[1] + full[0] if full else entry[0]

    # Typer cuts the lines of its overview short; each command's own section has all of its line.
    return re.sub(r"^(\* `[\w-]+`: )(.+)\.\.\.$", whole, text, flags=re.MULTILINE)


def reference() -> str:
    """Markdown that mkdocstrings fills: functions, classes, then the types that these name."""
    functions, classes = ([name for name in edge_se.__all__ if name.islower() is lower] for lower in (True, False))
    parts = [("Functions", [f"edge_se.{name}" for name in functions]),
             ("Classes", [f"edge_se.{name}" for name in classes]), ("What they take and return", TYPES)]
    blocks = (f"## {title}\n\n" + "\n\n".join(f"::: {name}" for name in names) for title, names in parts)
    return "# Python, every name\n\nExamples that run: [Python](api.md).\n\n" + "\n\n".join(blocks) + "\n"
