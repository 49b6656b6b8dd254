"""The report as one HTML file: no script, no network, both colour schemes; jinja2 (the extra `report`) fills it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from edge_se.core.errors import UnavailableError
from edge_se.reporting.report import charts, robustness, views

TEMPLATE = "template.html.j2"


def require_page(where: str = "--html") -> None:
    """UnavailableError without jinja2; called before anything takes time."""
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError as missing:
        raise UnavailableError("the HTML report needs jinja2", where=where,
                               fix="pip install 'edge-se[report]'") from missing


def page(document: dict[str, Any]) -> str:
    """HTML of a report. All text from outside is escaped; the template marks nothing as safe."""
    require_page()
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = files("edge_se.reporting.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        document=document, views=views, charts=charts, robustness=robustness, worst_of=views.worst_classes,
        models=[build["name"] for build in document["builds"]])
