"""What power is taken over."""

import pytest

from edge_se.device.agent import sampling


@pytest.fixture
def power_windows(monkeypatch):
    """[start, end] of each take from a sampler that has no sample."""
    taken = []

    class Recorder:
        def take(self, start, end):
            taken.append((start, end))
            return []

    monkeypatch.setattr(sampling, "_SAMPLERS", [Recorder()])
    return taken
