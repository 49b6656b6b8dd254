"""The command line: one module per topic, each command a thin layer over one step."""

from edge_se.cli.program import main

__all__ = ["main"]
