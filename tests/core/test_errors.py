"""Messages say `where: what; fix`, and a misspelled word is answered with the nearest known one."""

import ast
import pickle
from pathlib import Path

import pytest

from edge_se.core import errors
from edge_se.core.errors import DataError, EdgeSeError, did_you_mean


@pytest.mark.parametrize(("arguments", "message"), [
    ({}, "lost"),
    ({"where": "a.bin"}, "a.bin: lost"),
    ({"fix": "find it"}, "lost; find it"),
    ({"where": "a.bin", "fix": "find it"}, "a.bin: lost; find it"),
])
def test_the_message_has_place_problem_and_fix(arguments, message):
    error = DataError("lost", **arguments)
    assert str(error) == message
    assert (error.what, error.where, error.fix) == ("lost", arguments.get("where"), arguments.get("fix"))


def test_every_error_is_one_that_the_command_line_catches():
    tree = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]
    assert len(tree) == 8
    assert all(issubclass(error, EdgeSeError) for error in tree)
    assert all(f"{error.__name__} " in errors.__doc__ for error in tree)  # the tree on top is complete


@pytest.mark.parametrize("kind", [EdgeSeError, *EdgeSeError.__subclasses__()])
@pytest.mark.parametrize("arguments", [{}, {"where": Path("a.bin")}, {"where": "a.bin", "fix": "find it"}])
def test_it_says_the_same_in_another_process(kind, arguments):
    error = kind("lost", **arguments)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)
    assert (again.what, again.where, again.fix) == (error.what, error.where, error.fix)


@pytest.mark.parametrize(("word", "answer"), [
    ("resnet81", "did you mean 'resnet18'?"),
    ("se_resnet", "did you mean 'se_resnet18'?"),
    ("qqq", "known: resnet18, se_resnet18"),
    ("se", "did you mean 'se_resnet18'?"), ("", "known: resnet18, se_resnet18"),
])
def test_did_you_mean(word, answer):
    assert did_you_mean(word, ["se_resnet18", "resnet18"]) == answer


@pytest.mark.parametrize(("word", "answer"), [
    ("resnet81", "did you mean 'resnet18'? Or give a file"),
    ("qqq", "known: resnet18, se_resnet18; or give a file"),
])
def test_what_else_may_be_given_is_said_last(word, answer):
    assert did_you_mean(word, ["se_resnet18", "resnet18"], otherwise="give a file") == answer


@pytest.mark.parametrize(("word", "answer"), [
    ("resnet81", "did you mean 'resnet18'? Near are also 'resnet50' and 'resnet20'; `x list` lists all 43"),
    ("rosnet5", "did you mean 'resnet50'? Near are also 'resnet20' and 'resnet18'; `x list` lists all 43"),
    ("qqq", "`x list` lists all 43")])
def test_of_many_names_the_near_ones_and_how_to_list_them(word, answer):
    names = ["resnet18", "resnet20", "resnet50", *(f"net_{number}" for number in range(40))]
    assert did_you_mean(word, names, listing="`x list`") == answer


def test_every_message_that_is_written_out_has_a_fix():
    """One that a function returns (why a package is missing) tells its own."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, EdgeSeError)}
    bare, seen = [], 0
    for path in Path(errors.__file__).parent.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds
                    and node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr | ast.BinOp)):
                seen += 1
                if not any(keyword.arg in ("fix", None) for keyword in node.keywords):
                    bare.append(f"{path.name}:{node.lineno}")
    assert seen > 300 and not bare
