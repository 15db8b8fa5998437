"""Shared by the checks against real peers: where the tools are, what holds, and programs that a check starts on free ports of
this machine and stops again whatever happens."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

DEADLINE = 120
TOOLS = pathlib.Path(os.environ.get("TOOLS_DIR", "target/tools")).resolve() / "bin"
# Checks that held, by their names.
held = []


class Failure(Exception):
    """A check does not hold."""


def check(what, holds, seen):
    if not holds:
        raise Failure(f"{what}: {seen}")
    held.append(what)
    print(f"ok   {what}: {seen}", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(url, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()


def wait_for(what, condition, deadline=DEADLINE):
    """The first true value of `condition`; errors of a server that is not up yet are waited out."""
    end, last = time.monotonic() + deadline, None
    while time.monotonic() < end:
        try:
            last = condition()
            if last:
                return last
        except (OSError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.2)
    raise Failure(f"waited {deadline} s for {what}; last: {last}")


class Process:
    """A program that is stopped at the end, whatever happens."""

    def __init__(self, *command, env=None, cwd=None, restore_signals=True):
        # It lives as long as the process.
        self.log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self.running = subprocess.Popen(
            [str(part) for part in command],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            restore_signals=restore_signals,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGTERM)

    def stop(self, number=signal.SIGTERM):
        if self.running.poll() is None:
            self.running.send_signal(number)
            try:
                # A program that pushes or writes to its end does so on a busy machine too.
                self.running.wait(60)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()

    def output(self):
        # Opened again: seeking in the program's own file would move where it writes.
        return pathlib.Path(self.log.name).read_text(encoding="utf-8", errors="replace")
