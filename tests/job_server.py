"""Whole commands in processes of their own that are warm from the start: a kill then meets the work, not the imports.

Imports nothing of the package under test; the server does.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_SERVER = """
import json, os, sys
import numpy as np
import framencc, framencc.pipeline, framencc.cli.commands, framencc.sidecar
from framencc.cli import main
from framencc.pipeline import run
from framencc.config import make_spec

run(make_spec(json.loads(sys.stdin.readline())))  # loads the kernels
print("ready", flush=True)
for line in sys.stdin:
    words, log = json.loads(line)
    pid = os.fork()
    if pid == 0:
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(stream, number)
        os.close(0)
        sys.argv[1:] = words
        os._exit(main())  # with the words of the process: it then takes it to exist for this command alone
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class JobServer:
    """Forks one process for each command.

    Parameters
    ----------
    warm_up
        A job, as of `framencc.RunSpec`, that is done first.
    """

    def __init__(self, warm_up: dict[str, object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(warm_up)
        assert self._answer() == "ready"

    def start(self, words: list[object], log: Path) -> int:
        """Start a command; its output goes to a file. Returns its process number."""
        self._ask([list(map(str, words)), str(log)])
        return int(self._answer())

    def wait(self) -> int:
        """Wait for the command's end, and return its exit code (negative: a signal)."""
        return int(self._answer())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
