#!/bin/sh
# The package of TensorRT's type stubs makes `import tensorrt` succeed without TensorRT, and mypy cannot read it.
#
# Version   tensorrt-stubs 10.13.0.35.1, mypy 2.4.1
# Behaviour It installs folders named tensorrt and tensorrt_bindings with .pyi files alone, not tensorrt-stubs. Python
#           takes such a folder for a namespace package, so `import tensorrt` raises nothing where TensorRT is not installed,
#           and importlib.util.find_spec finds it. The stubs themselves are no Python: parameters named `in`, and one
#           without a default behind one with; mypy gives up at the syntax and checks nothing.
# Output    import tensorrt: no error, __file__ None, Builder there: False
#           mypy: 9 lines are no Python, "errors prevented further checking": True; after mending them: False
# Expected  A stub-only package as PEP 561 names it (tensorrt-stubs/), which shadows nothing, with stubs that parse.
# What to do  Ask for tensorrt.__file__, or for a name that you need, before you call TensorRT installed. Install the
#           stubs with --target into a folder that only the type checker sees, and mend the lines there.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder/stubs" --no-deps tensorrt-stubs==10.13.0.35.1
python3 -m pip install --quiet --target "$folder/tools" mypy==2.4.1
PYTHONPATH=$folder/tools FOLDER=$folder python3 - <<'PY'
import os
import re
import subprocess
import sys
from pathlib import Path

folder = Path(os.environ["FOLDER"])
stubs = folder / "stubs"
asked = "import tensorrt; print(tensorrt.__file__, hasattr(tensorrt, 'Builder'))"
done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=stubs, check=True)
found = done.stdout.split()
print(f"import tensorrt: no error, __file__ {found[0]}, Builder there: {found[1]}")


def complaints():
    """(lines of the stubs that mypy calls no Python, whether it gave up)."""
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "-c", "import tensorrt"],
                          capture_output=True, text=True, cwd=folder, env=os.environ | {"MYPYPATH": str(stubs)})
    lines = set(re.findall(r"tensorrt\.pyi:(\d+): error: .*\[syntax\]", done.stdout))
    return len(lines), "prevented further checking" in done.stdout


def mended(text):
    text = re.sub(r"\bin: ", "in_: ", text)
    return text.replace("channel_axis: int) -> IScaleLayer", "channel_axis: int = 0) -> IScaleLayer")


file = stubs / "tensorrt_bindings" / "tensorrt.pyi"
before = complaints()
file.write_text(mended(file.read_text()))
after = complaints()
print(f'mypy: {before[0]} lines are no Python, "errors prevented further checking": {before[1]}; after mending them: '
      f"{after[1]}")
same = found == ["None", "False"] and before[0] > 0 and before[1] and not after[1]
print("as described" if same else "CHANGED")
sys.exit(0 if same else 1)
PY
