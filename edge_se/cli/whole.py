"""The program with every command imported: for the documentation, which describes them all."""

from edge_se.cli.program import application

app = application(whole=True)
