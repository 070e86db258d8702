"""A warm process that forks children on command, so that killing fifty of them stays cheap.

It has everything imported and never opens a memory itself. Each command comes with two pipe
ends, which become the child's ears and mouth; the child runs one function of the `workers.py`
of the folder that it is told.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any


def main(descriptor: int, folder: str) -> None:
    sys.path[:0] = [folder, str(Path(folder).parent)]  # the tests' own modules too
    import workers

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children vanish by themselves
    with socket.socket(fileno=descriptor) as commands:
        while True:
            text, ends, _, _ = socket.recv_fds(commands, 65536, 2)
            if not text:
                return
            child = os.fork()
            if child == 0:
                commands.close()
                _live(workers, json.loads(text), *ends)
            for end in ends:
                os.close(end)
            commands.sendall(f"{child}\n".encode())


def _live(workers: Any, command: dict[str, Any], ears: int, mouth: int) -> None:
    status = 1
    try:
        with os.fdopen(ears, "r") as heard, os.fdopen(mouth, "w") as said:

            def say(what: Any) -> None:
                said.write(json.dumps(what) + "\n")
                said.flush()

            def hear() -> Any:
                line = heard.readline()
                if not line:  # whoever gave the orders is gone
                    os._exit(0)
                return json.loads(line)

            try:
                getattr(workers, command["work"])(say, hear, **command["arguments"])
                say({"done": True})
                status = 0
            except BaseException:
                say({"error": traceback.format_exc()})
    finally:
        os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
