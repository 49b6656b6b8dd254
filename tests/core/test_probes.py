"""Whatever a package does when it is imported, it is an answer."""

import subprocess
import sys
import time

import pytest

from edge_se.core.probes import ask


def test_answers_are_values_and_chatter_is_left_out():
    answers = ask({"one": "print('hello')\nvalue = {'a': [1, 'ü']}", "none": "value = None"})
    assert answers["one"].value == {"a": [1, "ü"]} and answers["one"].failure is None
    assert answers["none"].value is None and answers["none"].failure is None


FAILURES = {
    "not there": ("import no_such_package\nvalue = 1", "ModuleNotFoundError: No module named 'no_such_package'"),
    "raises": ("raise OSError('libgone.so.1: cannot open')", "OSError: libgone.so.1: cannot open"),
    "segmentation fault": ("import ctypes\nctypes.string_at(0)", "crashes at import (SIGSEGV)"),
    "abort": ("import os\nos.abort()", "crashes at import (SIGABRT)"),
    "illegal instruction": ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)", "crashes at import (SIGILL)"),
    "exits": ("import sys\nsys.exit(3)", "ends with code 3"),
    "control characters": ("raise ValueError('red \\x1b[31m')", "ValueError: red  [31m"),
    "no JSON": ("value = object()", "TypeError: Object of type object is not JSON serializable"),
}


@pytest.mark.parametrize(("code", "says"), FAILURES.values(), ids=FAILURES.keys())
def test_failures_are_one_line(code, says):
    answer = ask({"it": code})["it"]
    assert (answer.value, answer.failure) == (None, says)


def test_a_hang_ends_with_everything_that_it_started(tmp_path):
    late = f"import time; time.sleep(4); open({str(tmp_path / 'late')!r}, 'w')"
    code = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {late!r}])\ntime.sleep(60)"
    started = time.monotonic()
    answers = ask({"hangs": code, "fine": "value = 1"}, timeout=2)
    assert answers["hangs"].failure == "does not answer within 2 s" and answers["fine"].value == 1
    assert time.monotonic() - started < 8
    time.sleep(max(0.0, 5 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_packages_are_looked_for_where_this_process_looks(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("value = 7")
    monkeypatch.syspath_prepend(tmp_path)
    assert ask({"it": "import only_here\nvalue = only_here.value"})["it"].value == 7


def test_an_interrupt_leaves_no_process(tmp_path):
    script = (f"import sys\nfrom edge_se.core.probes import ask\n"
              f"ask({{'it': \"import os, time\\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\\n"
              "time.sleep(60)\"})")
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        process.send_signal(2)
        process.wait(20)
        child = int((tmp_path / "pid").read_text())
        wait_for(lambda: not is_alive(child))
    finally:
        process.kill()


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(process):
    return subprocess.run(["kill", "-0", str(process)], stderr=subprocess.DEVNULL, check=False).returncode == 0
