"""Calls a command of CRAB, and writes its answer to a file.

    call.py ANSWER COMMAND [--SWITCH ...] [OPTION=VALUE ...]

The client wants a process for each configuration, and the Python of CMSSW.
"""

import json
import sys

from CRABAPI.RawCommand import crabCommand

if __name__ == "__main__":
    answer, command, *words = sys.argv[1:]
    switches = [word for word in words if word.startswith("--")]
    result = crabCommand(command, *switches, **dict(word.split("=", 1) for word in words if word not in switches))
    with open(answer, "w") as file:
        json.dump(result, file, default=str)
