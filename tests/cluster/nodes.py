"""Ray nodes in processes of their own, the second one in a network namespace if wanted (as root)."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

_PORT = 6391
_BRIDGE = ("10.77.31.1", "10.77.31.2")
_SPACE = "llmkit-node"
_RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-gpus=0"]
_RAY += ["--object-store-memory=100000000", "--disable-usage-stats"]


class Node:
    """A Ray node: `ray start --block` and its children, in a session of their own."""

    def __init__(self, arguments, folder, name, space=None):
        self.log = Path(folder, f"{name}.log")
        inside = ["ip", "netns", "exec", space] if space else []
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*inside, *_RAY, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )

    def wait(self, seconds=180):
        """Wait until the node has joined."""
        for _ in range(seconds * 2):
            if "Ray runtime started" in self.log.read_text():
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.5)
        raise RuntimeError(self.log.read_text()[-2000:])

    def pids(self):
        """Processes of this node, `ray start` first."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
            waiting += [int(one) for one in listed.stdout.split()]
        return found

    def workers(self):
        """Processes that hold a model."""
        return [pid for pid in self.pids() if b"ray::ModelWorker" in _command(pid)]

    def kill(self):
        """End all its processes, as a lost machine does."""
        for pid in self.pids():
            _kill(pid)
        self.process.wait()


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@contextmanager
def two_nodes(folder, *, spaces=False):
    """Start two nodes; yield the address of the first, and both.

    Args:
        folder: for logs; it exists.
        spaces: put the second into a network namespace, with a virtual cable between them.
    """
    host = _BRIDGE[0] if spaces else "127.0.0.1"
    temporary = Path("/tmp", f"llmkit-ray-{os.getpid()}")  # short: Ray makes sockets below it
    nodes = []
    # The cluster of this trial has a token of its own; nodes and drivers inherit it.
    token = Path(folder, "token")
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    if spaces:
        _cable()
    try:
        common = ["--num-cpus=2", f"--temp-dir={temporary}"]
        head = ["--head", f"--port={_PORT}", f"--node-ip-address={host}", "--include-dashboard=false"]
        nodes.append(Node([*head, *common], folder, "head").wait())
        nodes.append(second(folder, host, spaces=spaces))
        yield f"{host}:{_PORT}", nodes
    finally:
        for node in nodes:
            node.kill()
        if spaces:
            subprocess.run(["ip", "netns", "del", _SPACE], check=False)
        shutil.rmtree(temporary, ignore_errors=True)


def second(folder, host, *, spaces):
    """Start the second node."""
    where = [f"--address={host}:{_PORT}", "--num-cpus=2"]
    where.append(f"--node-ip-address={_BRIDGE[1] if spaces else host}")
    return Node(where, folder, "second", _SPACE if spaces else None).wait()


def _cable():
    """Make a network namespace and a virtual cable to it."""
    first, other = _BRIDGE
    for command in (
        f"ip netns add {_SPACE}",
        f"ip link add llmkit0 type veth peer name llmkit1 netns {_SPACE}",
        f"ip addr add {first}/24 dev llmkit0",
        "ip link set llmkit0 up",
        f"ip -n {_SPACE} addr add {other}/24 dev llmkit1",
        f"ip -n {_SPACE} link set llmkit1 up",
        f"ip -n {_SPACE} link set lo up",
    ):
        subprocess.run(command.split(), check=True)
