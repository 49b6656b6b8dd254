"""The agent's commands: `describe`, `sample SECONDS` and `serve`."""

from __future__ import annotations

import json
import os
import sys
import time

from .conditions import state
from .facts import describe
from .frames import MAGIC, Pipe
from .sensors import Sensors
from .server import Server

USAGE = """The device's side of edge-se.

    python3 agent.pyz describe    what this device is and can, as JSON
    python3 agent.pyz sample S    power, clocks and temperatures every S seconds, a JSON object a line;
                                  with `without-power` after it the rest alone
    python3 agent.pyz serve       requests on stdin, answers on stdout, see Server
"""


def main() -> int:
    """`describe`, `sample SECONDS` or `serve`."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "describe":
        print(json.dumps(dict(describe(), state=state()), indent=2))
    elif command == "sample" and (len(sys.argv) == 3 or sys.argv[3:] == ["without-power"]):
        sensors = Sensors(power=len(sys.argv) == 3)
        while True:
            print(json.dumps(sensors.sample()), flush=True)
            time.sleep(float(sys.argv[2]))
    elif command == "serve":
        answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # output of a runtime must not come between the answers
        answers.write(MAGIC)
        answers.flush()
        Server(Pipe(), answers).serve()
    else:
        sys.stderr.write(USAGE)
        return 2
    return 0
