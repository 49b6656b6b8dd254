"""The folder of logits has a bound: what was used longest ago goes, and nothing that goes wrong there is an error."""

import os

import pytest

from edge_se.core import kept_logits
from edge_se.core.errors import EdgeSeError
from edge_se.core.kept_logits import VARIABLE, bound, keep, logits_folder, taken, used


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return logits_folder()


def kept(folder):
    return sorted(path.name for path in folder.iterdir())


def filled(folder, names, size=100):
    """Entries that were used one after the other."""
    for age, name in enumerate(names):
        keep(folder / name, bytes(size), 10**6)
        os.utime(folder / name, ns=(10**9 * (age + 1),) * 2)


def test_two_gibibytes_unless_something_else_is_said(folder, monkeypatch):
    assert bound() == 2**31
    for text, mib in (("", 2048), ("1", 1), ("0", 0), ("70000", 70000)):
        monkeypatch.setenv(VARIABLE, text)
        assert bound() == mib * 2**20


@pytest.mark.parametrize("text", ["-1", "1.5", "2 GB", "lots", "²"])
def test_what_is_no_number_is_refused(folder, monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(EdgeSeError, match=r"no whole number of MiB; give one, such as 2048") as refused:
        bound()
    assert refused.value.where == "$EDGE_SE_CACHE_MIB"


def test_what_was_used_longest_ago_goes_first(folder):
    filled(folder, "abc")
    keep(folder / "d", bytes(100), 300)
    assert kept(folder) == ["b", "c", "d"] and taken() == 300
    used(folder / "b")
    keep(folder / "e", bytes(150), 300)
    assert kept(folder) == ["b", "e"] and taken() == 250


def test_the_entry_itself_is_replaced_and_never_counted_twice(folder):
    filled(folder, "ab")
    keep(folder / "a", bytes(200), 300)
    assert kept(folder) == ["a", "b"] and taken() == 300


def test_an_entry_above_the_bound_is_not_kept_and_pushes_nothing_out(folder):
    filled(folder, "ab")
    keep(folder / "c", bytes(301), 300)
    keep(folder / "d", bytes(1), 0)
    assert kept(folder) == ["a", "b"]


def test_what_is_being_read_stays_readable(folder):
    filled(folder, "a")
    with open(folder / "a", "rb") as reading:
        keep(folder / "b", bytes(100), 100)
        assert kept(folder) == ["b"] and len(reading.read()) == 100


def test_what_another_process_writes_is_left_alone_and_what_a_killed_one_left_goes(folder):
    filled(folder, "a")
    alive, dead = f".edge-se-{os.getppid()}-x", ".edge-se-99999999-x"
    for name in (alive, dead):
        (folder / name).write_bytes(bytes(1000))
    keep(folder / "b", bytes(100), 250)
    assert kept(folder) == [alive, "a", "b"] and taken() == 200


@pytest.mark.parametrize(("failing", "then"), [("unlink", ["a", "b"]), ("iterdir", ["a", "b", "c"])])
def test_a_folder_that_cannot_be_tidied_is_no_error(folder, monkeypatch, failing, then):
    filled(folder, "ab")

    def refused(*anything, **more):
        raise PermissionError
    with monkeypatch.context() as patch:
        patch.setattr(kept_logits.Path, failing, refused)
        keep(folder / "c", bytes(100), 250)
        used(folder / "nothing")
    assert kept(folder) == then


def test_a_full_disk_costs_nothing(folder, full_disk):
    with full_disk():
        keep(folder / "a", bytes(30_000), 10**6)
        keep(folder / "b", bytes(100), 10**6)
    assert kept(folder) == ["b"]
