"""Whether the SSH configuration knows a Jetson, asked of OpenSSH itself."""

import shutil

import pytest

from edge_se.backends.machines.destination import Destination, find_jetson

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh: apt install openssh-client")


@pytest.fixture
def jetson(tmp_path, monkeypatch):
    """(text of the configuration) -> what is found in it."""
    monkeypatch.delenv("EDGE_SE_JETSON", raising=False)
    monkeypatch.setenv("EDGE_SE_SSH_CONFIG", str(tmp_path / "config"))

    def found(text):
        (tmp_path / "config").write_text(text)
        return find_jetson(None)
    return found


@pytest.mark.parametrize("every", [
    "ControlPath ~/.ssh/cm-%r@%h:%p", "ControlPath ~/.ssh/%C", "HostName %h.lan", "UserKnownHostsFile ~/.ssh/known_%h",
    "IdentityAgent ~/.ssh/agent-%n", "User jetson", "ProxyJump bastion", ""])
def test_what_is_said_of_every_host_names_no_jetson(jetson, every):
    """OpenSSH fills the host's name in: with the usual ControlPath each run went to a host that is not there."""
    assert jetson(f"Host *\n  {every}\n") is None
    assert jetson(f"Host nano\n  HostName 10.0.0.7\nHost *\n  {every}\n") is None


@pytest.mark.parametrize("own", ["HostName 192.168.1.42", "HostName jetson.local", "User nvidia", "Port 2222",
                                 "IdentityFile ~/.ssh/jetson", "ProxyJump bastion"])
def test_anything_of_its_own_names_it(jetson, own):
    assert jetson(f"Host jetson\n  {own}\nHost *\n  ControlPath ~/.ssh/%C\n") == Destination(host="jetson")
