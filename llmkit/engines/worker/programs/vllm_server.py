"""Run vLLM's server, and end it together with llmkit. A standalone program: it needs vllm, not llmkit.

The server gets a separate session, so that all its processes can be ended together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from lines import jobs, say, take_output  # a file in this folder


def main() -> None:
    """Start the server of the first job, and wait for its end."""
    take_output()
    running: list[subprocess.Popen[bytes]] = []
    waiting = jobs(lambda: stop(running))

    def end(*_: object) -> None:
        stop(running)
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    job = waiting.get()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in job["settings"].items():
        flag = "-" * 2 + name.replace("_", "-")
        command += [flag] if value is None else [flag, str(value)]
    command += job["more"]
    running.append(
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Unbuffered, so that its last error is the last line.
            env={**os.environ, "PYTHONUNBUFFERED": "1", **job["environment"]},
        )
    )
    say({"pid": running[0].pid})
    sys.exit(running[0].wait())


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    """End the server and all its processes: SIGTERM first, SIGKILL after five seconds."""
    for process in running:
        for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0)):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            end = time.monotonic() + seconds
            while time.monotonic() < end and _group_lives(process):
                time.sleep(0.05)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a child that has ended but was not waited for is still in its group
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
