"""Why a login gave no agent: its start-up files, its Python, its fixed command; told by name, each with its fix."""

import shutil

import pytest

from edge_se.backends.machines import link
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
    ("exec sh", "its login did not run the command .exit code [1-9]+.*; `ssh -p [0-9]+ localhost echo yes` must print"),
    ("exit 3", "its login did not run the command .exit code 3.; "),
    ("printf 'Only \\033[1msftp\\007 here\\n'; exit 1", "its login did not run .*: Only  .1msftp  here; "),
    ("export PYTHONHOME=/nope", "its Python cannot start: Fatal Python error: .*; no start-up file there should set"),
    ("python3() { return 126; }", "its python3 cannot be run; install it anew"),
    ("printf 'fish: Unknown command: python3\\n^~~~~~^\\n' >&2; exit 127", "has no python3: fish: Unknown command: "),
    ("exec sh -c 'echo Choose a robot'", "its login did not run the command .exit code 0.: Choose a robot"),
    ("echo This account is currently not available.; exit 1", "exit code 1.: This account is currently not available"),
    ("read answer", "a start-up file there eats the input; .*unless a person is there"),
    ("echo 'python3: Command not found.' >&2; exit 1", "has no python3.*sudo apt install python3"),
    ("echo 'Permission denied' >&2; exit 1", "its login did not run the command .exit code 1.: Permission denied")])
def test_start_up_files_are_told_from_openssh(box, link_to, profile, says):
    box.profile(profile)
    if says is None:
        with link_to() as connected:
            assert connected.ask("describe")[0]["device"]["cores"]
        return
    with pytest.raises(EdgeSeError, match=says), link_to():
        pass


ASKED = "if [ $1 = -c ]; then echo 3.9; exit; fi; "  # a Python that tells its version


@pytest.mark.parametrize(("script", "says"), [
    ("echo 3.6", "python is Python 3.6; 3.8 or later is needed; name another with --python"),
    ("echo 2.7", "python is Python 2.7; 3.8 or later is needed"),
    ("echo 'error while loading shared libraries: libpython3.so' >&2; exit 127",
     "is no Python that can start .exit code 127.: error while loading shared libraries: libpython3.so"),
    ("echo 'ls: invalid option' >&2; exit 2", "is no Python that can start .exit code 2.: ls: invalid option"),
    ("cat", "is no Python that can start .exit code 0.: ; name a Python"),
    (f"{ASKED}echo \"ModuleNotFoundError: No module named 'numpy'\" >&2; exit 1", "its Python has no numpy"),
    (f"{ASKED}echo 'Traceback (most recent call last):' >&2; echo 'ImportError: mine' >&2; exit 1",
     "its Python cannot run the agent: ImportError: mine; look at PYTHONPATH there"),
    (f"{ASKED}kill -9 $$", "the agent ended there .signal 9")])
def test_a_python_that_cannot_serve_is_told(link_to, tmp_path, script, says):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(EdgeSeError, match=says), link_to(python=str(python)):
        pass


def test_a_remote_command_of_the_configuration_is_left_out(box, link_to):
    config = box.client / "config"
    config.write_text(config.read_text().replace("Host *\n", "Host *\n  RemoteCommand tmux new -A\n"))
    with link_to() as connected:
        assert connected.ask("describe")[0]["device"]["cores"]


def test_a_python_below_the_home_folder(box, link_to, tmp_path):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(box.bin / "python3")
    box.profile(f"export HOME={tmp_path}")
    with pytest.raises(EdgeSeError, match="no/python cannot be run"), link_to(python="~/no/python"):
        pass
    with link_to(python="~/env/bin/python") as connected:
        assert connected.ask("describe")[0]["device"]["cores"]


def test_a_start_up_file_that_starts_a_shell_which_waits_is_told_after_a_while(box, link_to, monkeypatch):
    monkeypatch.setattr(link, "GREETING_S", 1.0)
    monkeypatch.setattr(link, "PING_S", 0.5)
    for profile in ("exec cat >/dev/null", "sleep 8"):
        box.profile(profile)
        with pytest.raises(UnavailableError, match=r"did not start within 1 s; `ssh -p [0-9]+ localhost echo yes`"), \
                link_to():
            pass


def test_a_server_that_echoes_is_no_agent(box, link_to, monkeypatch):
    monkeypatch.setattr(link, "ENDS_S", 0.5)
    box.profile("exec cat")
    with pytest.raises(UnavailableError, match="what answers there is not the agent"), link_to():
        pass


SHELLS = {name: shutil.which(name) for name in ("fish", "tcsh", "zsh", "rbash")}


@pytest.mark.parametrize("shell", SHELLS)
def test_whatever_the_login_shell_is(box, link_to, shell):
    """OpenSSH gives the command to the user's shell as this line does."""
    if SHELLS[shell] is None:
        pytest.skip(f"no {shell} here: apt install {shell}")
    box.profile(f'echo "Welcome to {shell}"; exec {SHELLS[shell]} -c "$SSH_ORIGINAL_COMMAND"')
    with link_to() as connected:
        assert connected.ask("describe")[0]["device"]["cores"]


@pytest.mark.parametrize("shell", ["fish", "tcsh"])
def test_no_python_in_whatever_shell(box, link_to, shell, tmp_path):
    if SHELLS[shell] is None:
        pytest.skip(f"no {shell} here: apt install {shell}")
    box.profile(f'PATH={tmp_path}; exec {SHELLS[shell]} -c "$SSH_ORIGINAL_COMMAND"')
    with pytest.raises(UnavailableError, match=r"has no python3: .*python3.*; install it there"), link_to():
        pass


def test_over_ipv6(link_to, ipv6_box):
    for address in (f"ssh://[::1]:{ipv6_box.port}", "v6"):
        with link_to(address) as connected:
            assert connected.ask("describe")[0]["device"]["cores"]
    ipv6_box.profile("exit 3")
    with pytest.raises(UnavailableError, match=r"^ssh://\[::1\]:.*; `ssh -p [0-9]+ ::1 echo yes`"), \
            link_to(f"ssh://[::1]:{ipv6_box.port}"):
        pass


@pytest.mark.parametrize("shell", ["bash", "fish", "tcsh"])
def test_dropbear(link_to, dropbear, bare_python, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: apt install {shell}")
    home, port = dropbear(shutil.which(shell))
    (home / ".bashrc").write_text("echo welcome")
    (home / ".cshrc").write_text("echo welcome")
    python = str(bare_python / "python3")
    with link_to(f"ssh://root@localhost:{port}", python=python) as connected:
        assert connected.ask("describe")[0]["device"]["cores"]
    if shell == "bash":
        (home / ".bashrc").write_text("exec sh -c 'echo Choose a robot'")
        with pytest.raises(UnavailableError, match=r"its login did not run .* .exit code 0.: Choose a robot"), \
                link_to(f"ssh://root@localhost:{port}"):
            pass
        (home / "shells").write_text("/bin/false\n")
        with pytest.raises(UnavailableError, match=r"it refuses your key; .*shell of /etc/shells"), \
                link_to(f"ssh://root@localhost:{port}"):
            pass
