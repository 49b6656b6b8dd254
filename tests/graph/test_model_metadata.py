"""The contract inside a file: written, read back, and one message when it is broken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_se.core.errors import ModelError
from edge_se.data.preprocessing import CIFAR10, Preprocessing
from edge_se.graph.metadata import PREFIX, ModelMetadata, read_metadata, write_metadata

OWN = Preprocessing(size=(8, 8), labels=("cat", "dog"), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
METADATA = ModelMetadata(model="net", preprocessing=OWN, source_sha256="a" * 64, params=12)
OTHERWISE = replace(OWN, resize="squash", interpolation="bicubic", antialias=False, colour="BGR", range="0-255")


@pytest.fixture
def graph(graph_of):
    return graph_of([("Relu", ["x"], ["y"])])


@pytest.mark.parametrize("metadata", [
    METADATA, ModelMetadata(model="net", preprocessing=replace(CIFAR10, size=(8, 8))),
    replace(METADATA, preprocessing=OTHERWISE), replace(METADATA, preprocessing=replace(OWN, share=0.5))])
def test_it_comes_back(graph, metadata):
    write_metadata(graph, metadata)
    assert read_metadata(graph) == metadata


def test_writing_replaces_everything(graph):
    graph.metadata_props.add(key="pkg.torch.stack_trace", value=str(Path(__file__)))
    write_metadata(graph, METADATA)
    write_metadata(graph, ModelMetadata(model="other"))
    keys = [entry.key for entry in graph.metadata_props]
    assert keys == sorted(keys) and len(keys) == 7 and all(key.startswith(PREFIX) for key in keys)
    assert read_metadata(graph).model == "other"


def test_a_file_from_elsewhere_has_none(graph):
    assert read_metadata(graph) is None
    graph.metadata_props.add(key="author", value="someone")
    assert read_metadata(graph) is None


def test_keys_of_a_later_version_are_ignored(graph):
    write_metadata(graph, METADATA)
    graph.metadata_props.add(key=PREFIX + "later", value="1")
    assert read_metadata(graph) == METADATA


@pytest.mark.parametrize("key", ["model", "labels", "mean"])
def test_broken_metadata(graph, key):
    write_metadata(graph, METADATA)
    for entry in graph.metadata_props:
        if entry.key == PREFIX + key:
            entry.value = "{"
    with pytest.raises(ModelError, match=r"handmade: its edge-se metadata is broken \(.*\); export it again"):
        read_metadata(graph)


@pytest.mark.parametrize(("key", "value"), [("mean", 5), ("labels", None), ("model", 3), ("std", ["a", "b", "c"])])
def test_metadata_of_the_wrong_kind(graph, key, value):
    write_metadata(graph, METADATA)
    for entry in graph.metadata_props:
        if entry.key == PREFIX + key:
            entry.value = json.dumps(value)
    with pytest.raises(ModelError, match="its edge-se metadata is broken"):
        read_metadata(graph)
