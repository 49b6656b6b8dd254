"""Reads damaged files, one after the other, in a process that may crash: worker.py KIND FIRST LAST ORIGINALS FOLDER

A case is told by its number alone, so `worker.py KIND N N+1 ORIGINALS FOLDER` repeats it and leaves the file. The last
line on stdout is JSON; before it the number of each case that was begun.
"""

import faulthandler
import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from random import Random

from readers import KINDS, prepare

from edge_se.core.errors import EdgeSeError

LIMIT_S = 20.0  # for one case; the slowest takes a tenth of a second on a machine that has nothing else to do


def main(name, first, last, originals, folder):
    kind, originals, folder = KINDS[name], Path(originals), Path(folder)
    tempfile.tempdir = str(folder / "tmp")
    Path(tempfile.tempdir).mkdir(parents=True, exist_ok=True)
    path, whole = prepare(kind, originals, folder), (originals / kind.name).read_bytes()
    counts, bugs = {"read": 0, "refused": 0}, []
    path.write_bytes(whole)
    kind.read(path, originals)  # what is not damaged must be read
    before = everything_below(folder)
    for number in range(int(first), int(last)):
        path.write_bytes(kind.damage(Random(f"{name} {number}"), whole))
        print(number, flush=True)
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        try:
            kind.read(path, originals)
            counts["read"] += 1
        except EdgeSeError as error:
            counts["refused"] += 1
            if not str(error).strip():
                bugs.append((number, f"says nothing: {error!r}"))
        except BaseException:
            bugs.append((number, traceback.format_exc()[-1500:]))
        faulthandler.cancel_dump_traceback_later()
        if everything_below(folder) != before:
            bugs.append((number, f"left behind: {everything_below(folder) ^ before}"))
            before = everything_below(folder)
    print(json.dumps({"counts": counts, "bugs": bugs}), flush=True)


def everything_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what numpy and torch think of odd files is no finding
    main(*sys.argv[1:])
