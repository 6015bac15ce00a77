"""Calls a command of CRAB, and writes its answer to a file.

    call.py ANSWER COMMAND [OPTION=VALUE ...]

The client wants a process for each configuration, and the Python of CMSSW.
"""

import json
import sys

from CRABAPI.RawCommand import crabCommand

if __name__ == "__main__":
    answer, command = sys.argv[1:3]
    result = crabCommand(command, **dict(word.split("=", 1) for word in sys.argv[3:]))
    with open(answer, "w") as file:
        json.dump(result, file, default=str)
