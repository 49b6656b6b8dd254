"""The scripts of action.yml, run here as GitHub's runner runs them."""

import re
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="reading the action needs PyYAML")
ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def holds(condition: str, inputs: dict[str, str]) -> bool:
    """A condition of a step; only the forms that action.yml uses are known."""
    if condition == "always()":
        return True
    name, operator, value = re.fullmatch(r"inputs\.([\w-]+) (==|!=) '([^']*)'", condition).groups()
    return (inputs[name] == value) == (operator == "==")


def filled(text: str, values: dict[str, str]) -> str:
    """Outputs of a step that wrote none are empty, as GitHub's are."""
    return EXPRESSION.sub(lambda found: values.get(found.group(1), "") if found.group(1).startswith("steps.")
                          else values[found.group(1)], text)


def run_steps(folder: Path, environment: dict[str, str], only: tuple[str, ...] = (), **given: str):
    """Runs the scripts of the action in `folder`, as GitHub's runner does; (exit code, outputs, summary, output)."""
    names = {key.replace("_", "-"): value for key, value in given.items()}
    inputs = {name: str(entry["default"]) for name, entry in ACTION["inputs"].items()}
    assert set(names) <= set(inputs)
    inputs |= names
    values = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
    written, summary, code, output = dict[str, str](), folder / "summary.md", 0, ""
    temporary = folder / "runner temporary"
    temporary.mkdir(exist_ok=True)
    for step in ACTION["runs"]["steps"]:
        condition = step.get("if")
        if "run" not in step or (only and step["name"] not in only):
            continue
        if (code and condition != "always()") or (condition and not holds(condition, inputs)):
            continue
        script, outputs = folder / "step.sh", folder / "outputs"
        script.write_text(step["run"])
        outputs.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=folder, capture_output=True, text=True,
            timeout=600, env=environment | {name: filled(value, values) for name, value in step.get("env", {}).items()}
            | {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary), "RUNNER_TEMP": str(temporary)})
        code, output = code or done.returncode, output + done.stdout + done.stderr
        told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        written |= told
        values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in told.items()}
    return code, written, summary.read_text() if summary.exists() else "", output
