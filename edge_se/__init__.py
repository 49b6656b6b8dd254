"""edge-se: small-image classifiers from training to the edge, with INT8 that is measured, not hoped for.

The functions below are those that the command line calls: `edge_se.export(...)`, `edge_se.bench(...)` and so on
(docs/api.md). Each is imported when it is first asked for, so that `import edge_se` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edge_se.backends.machines.choice import Place
    from edge_se.cluster.ray_cluster import RayCluster as Cluster
    from edge_se.core.errors import EdgeSeError
    from edge_se.graph.source_options import SourceOptions
    from edge_se.quantization.search import Budget
    from edge_se.steps.bench import Options as BenchOptions
    from edge_se.steps.bench import bench
    from edge_se.steps.doctor import doctor
    from edge_se.steps.explain import explain
    from edge_se.steps.export import export
    from edge_se.steps.gate import gate
    from edge_se.steps.lint import lint
    from edge_se.steps.robustness import robustness
    from edge_se.steps.sensitivity import sensitivity
    from edge_se.steps.train import train
    from edge_se.steps.verify import verify
    from edge_se.studies.study import Options as StudyOptions
    from edge_se.studies.study import study

_API = {  # name -> (module, attribute)
    "export": ("edge_se.steps.export", "export"),
    "bench": ("edge_se.steps.bench", "bench"),
    "gate": ("edge_se.steps.gate", "gate"),
    "sensitivity": ("edge_se.steps.sensitivity", "sensitivity"),
    "robustness": ("edge_se.steps.robustness", "robustness"),
    "verify": ("edge_se.steps.verify", "verify"),
    "explain": ("edge_se.steps.explain", "explain"),
    "lint": ("edge_se.steps.lint", "lint"),
    "doctor": ("edge_se.steps.doctor", "doctor"),
    "train": ("edge_se.steps.train", "train"),
    "study": ("edge_se.studies.study", "study"),
    "Place": ("edge_se.backends.machines.choice", "Place"),
    "BenchOptions": ("edge_se.steps.bench", "Options"),
    "Budget": ("edge_se.quantization.search", "Budget"),
    "Cluster": ("edge_se.cluster.ray_cluster", "RayCluster"),
    "SourceOptions": ("edge_se.graph.source_options", "SourceOptions"),
    "StudyOptions": ("edge_se.studies.study", "Options"),
    "EdgeSeError": ("edge_se.core.errors", "EdgeSeError"),
}

__all__ = ["BenchOptions", "Budget", "Cluster", "EdgeSeError", "Place", "SourceOptions", "StudyOptions", "bench",
           "doctor", "explain", "export", "gate", "lint", "robustness", "sensitivity", "study", "train", "verify"]


def __getattr__(name: str) -> Any:
    """A name of the API from its module; kept, so that it is looked up once."""
    if name not in _API:
        raise AttributeError(f"module 'edge_se' has no attribute '{name}'")
    module, attribute = _API[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
