"""Why a login gave no agent: its start-up files, its Python, its fixed command; told by name, each with its fix."""

import pytest

from edge_se.core.errors import EdgeSeError, UnavailableError


def test_no_python_there(box, link_to, tmp_path):
    (tmp_path / "empty").mkdir()
    box.profile(f"PATH={tmp_path / 'empty'}")
    with pytest.raises(UnavailableError, match=r"has no python3.*sudo apt install python3"), link_to():
        pass


def test_a_python_without_numpy(box, link_to, tmp_path):
    import venv

    venv.create(tmp_path / "naked", symlinks=True)
    with pytest.raises(UnavailableError, match="its Python has no numpy"), \
            link_to(python=str(tmp_path / "naked" / "bin" / "python3")):
        pass
    with pytest.raises(EdgeSeError, match=r"/no/python cannot be run \(No such file"), link_to(python="/no/python"):
        pass


@pytest.mark.parametrize(("profile", "says"), [
    ("echo 'setup.bash: Permission denied' >&2", None), ("echo 'roscore: Connection refused' >&2", None),
    ("echo 'Host key verification failed' >&2", None),
    ("exec sh -c 'echo Choose a robot'", "its login did not run the command .exit code 0.: Choose a robot"),
    ("echo This account is currently not available.; exit 1", "exit code 1.: This account is currently not available"),
    ("read answer", "a start-up file there eats the input; .*unless a person is there"),
    ("echo 'python3: Command not found.' >&2; exit 1", "has no python3.*sudo apt install python3"),
    ("echo 'Permission denied' >&2; exit 1", "its login did not run the command .exit code 1.: Permission denied")])
def test_start_up_files_are_told_from_openssh(box, link_to, profile, says):
    box.profile(profile)
    if says is None:
        with link_to() as link:
            assert link.ask("describe")[0]["device"]["cores"]
        return
    with pytest.raises(EdgeSeError, match=says), link_to():
        pass


@pytest.mark.parametrize(("script", "says"), [
    ("echo 'error: python3 here is 3.6; the agent needs 3.8 or later' >&2; exit 1", "its Python is 3.6; 3.8 or later"),
    ("echo 'error while loading shared libraries: libpython3.so' >&2; exit 127", "python cannot start .exit code 127"),
    ("echo \"ModuleNotFoundError: No module named 'numpy'\" >&2; exit 1", "its Python has no numpy")])
def test_a_python_that_cannot_serve_is_told(link_to, tmp_path, script, says):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(EdgeSeError, match=says), link_to(python=str(python)):
        pass


def test_a_remote_command_of_the_configuration_is_left_out(box, link_to):
    config = box.client / "config"
    config.write_text(config.read_text().replace("Host *\n", "Host *\n  RemoteCommand tmux new -A\n"))
    with link_to() as link:
        assert link.ask("describe")[0]["device"]["cores"]
