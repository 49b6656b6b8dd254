"""What `export` refuses about a device, before it loads a net."""

import pytest

from edge_se.backends.machines.choice import Place
from edge_se.core.errors import EdgeSeError
from edge_se.steps.export import export


@pytest.mark.parametrize(("place", "placement", "words"), [
    (Place(device="jetsn"), "auto", "unknown device 'jetsn'; did you mean 'jetson'"),
    (Place(device="loopback", host="orin"), "auto", "names a Jetson, and the device is 'loopback'"),
    (Place(device="ssh://"), "auto", "--device"),
    (Place(device="loopback"), None, "says where placements are timed, and none are")])
def test_a_device_is_refused_before_anything_takes_time(monkeypatch, place, placement, words):
    monkeypatch.setattr("edge_se.steps.export.load_source", lambda *given: pytest.fail("a net was loaded"))
    with pytest.raises(EdgeSeError, match=words):
        export("se_resnet18", int8=True, placement=placement, place=place)
