"""Documents say what was measured: their tables are those of the JSON, their links lead somewhere."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from bench.tables import readme
from edge_se.core.assets import asset
from edge_se.core.toml_files import tomllib

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schema").glob("*.json")}


@pytest.mark.parametrize("name", readme.DOCUMENTS)
def test_tables_are_those_of_the_measurements(name) -> None:
    text = (ROOT / name).read_text()
    assert readme.PLACE.search(text), "the document has places for figures"
    assert readme.refreshed(text) == text, "run `python -m bench.tables.readme`"


def test_an_altered_figure_is_found() -> None:
    text = (ROOT / "README.md").read_text()
    altered = re.sub(r"(\| `se_resnet18` \| )11,261,002", r"\g<1>11,261,003", text)
    assert altered != text and readme.refreshed(altered) == text


def test_the_readme_says_first_what_int8_brings_then_the_commands_then_the_tables() -> None:
    text = (ROOT / "README.md").read_text()
    order = [text.index(part) for part in ("<!-- figures: headline -->", "make export", "make test", "## Commands",
                                           "<!-- figures: transcript -->", "<!-- figures: speedup -->")]
    assert order == sorted(order) and order[0] < 20
    figures = re.sub(r" \d+\.\d+\.\d+,", ",", readme.FIGURES["headline"]())  # without the runtime's version
    assert len(re.findall(r"\d+\.\d+", figures)) == 5  # each but the speed with FP32's beside it


def test_how_much_faster_int8_is_has_one_home() -> None:
    """A run's own ratio beside that of repeats contradicts it."""
    homes = [path.name for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
             if "<!-- figures: speedup -->" in path.read_text()]
    assert homes == ["README.md"] and "FP32" not in readme.latency_table().splitlines()[0]


def test_the_readme_names_every_extra_and_no_other() -> None:
    install = (ROOT / "README.md").read_text().partition("Extras: ")[2].partition("\n\n")[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"`\[(\w+)\]`", install)) == set(project["optional-dependencies"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_fit_their_schemas_and_hold_no_path_of_a_machine(path) -> None:
    document = json.loads(path.read_text())
    schema = SCHEMAS.get(document["schema"].removeprefix("edge-se/").replace("/", "-"))
    if schema:
        Draft202012Validator(schema).validate(document)
    assert not re.search(r'"/(home|root|tmp|work)/', path.read_text())


@pytest.mark.parametrize("name", readme.MODELS)
def test_results_are_of_the_bundled_weights(name) -> None:
    export = json.loads((ROOT / "bench" / "results" / f"export-{name}.json").read_text())
    card = json.loads(asset("models", name, "card.json").read_text())
    assert export["source"]["sha256"] == card["weights"]["sha256"]
    gate = json.loads((ROOT / "bench" / "results" / f"gate-{name}.json").read_text())
    assert {row["sha256"] for row in gate["targets"]} <= {row["sha256"] for row in export["artifacts"]}


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
WRITTEN = [path for path in PAGES if path.parent.name != "studies" or path.name == "README.md"]  # by a person


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_to_a_part_of_a_page_name_one_of_its_headings(path) -> None:
    for target, part in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
        page = path.parent / target if target else path
        assert part in headings(page.read_text()), f"{target}#{part}"


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_an_anchor_is_its_heading_in_small_letters_without_what_is_no_letter() -> None:
    assert headings("# A `gate`\n\n## 5. On the board, now\n### One--two?\n") == {
        "a-gate", "5-on-the-board-now", "one--two"}


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_lines_that_people_write_fit_120_characters(path) -> None:
    text = re.sub(r"<!-- figures: .*?<!-- end figures -->", "", path.read_text(), flags=re.DOTALL)
    assert not [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]


def test_the_tree_in_contributing_is_that_of_the_repository() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("```\n")[2].partition("```")[0]
    named = {path for line in tree.splitlines() for path in re.findall(r"(\S+)/(?= |$)", line.split("  ")[0] + " ")}
    assert not [path for path in named if not (ROOT / path).is_dir()]
    packages = {path.parent.name for path in (ROOT / "edge_se").glob("*/__init__.py")}
    assert packages == {path.split("/")[1] for path in named if path.startswith("edge_se/")}
