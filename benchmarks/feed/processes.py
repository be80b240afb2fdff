"""Processes that are measured: how they start and end, their memory, and their share of the processor."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 300
STOP_SECONDS = 75
_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.02
_PROC = Path("/proc")


@dataclass(frozen=True)
class Server:
    """A server that is ready. `start_seconds` passed from its command to the first /readyz with 200."""

    base: str
    pid: int
    start_seconds: float

    def memory_mib(self) -> float:
        """Proportional set size of the process and its children: pages that several share count once."""
        return sum(_pss_kib(pid) for pid in family(self.pid)) / 1024


@contextmanager
def started(command: Sequence[str], port: int, **environment: str) -> Iterator[Server]:
    """Runs a server on a port of loopback until the block ends. Raises RuntimeError if it does not start."""
    begun = time.perf_counter()
    environment = {**os.environ, "NEARFEED_LOG_LEVEL": "ERROR", **environment}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_ready(base, process)
        yield Server(base, process.pid, time.perf_counter() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for each, (parent, _) in _processes().items():
        children.setdefault(parent, []).append(each)
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def child(of: int, words: Sequence[str]) -> int:
    """The one descendant of which the command line ends with these words. Raises RuntimeError."""
    ending = "\0".join(words).encode() + b"\0"
    for pid in family(of):
        if (_PROC / str(pid) / "cmdline").read_bytes().endswith(ending):
            return pid
    raise RuntimeError(f"no process {' '.join(words)}")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, of its descendants, and of children that have ended."""
    processes = _processes()
    return sum(processes[each][1] for each in family(pid) if each in processes)


class Others:
    """Cores that were busy with something else than this benchmark: what makes its figures worse."""

    def __init__(self) -> None:
        self._since = self._now()

    def cores(self) -> float:
        """The mean since the last call."""
        before, self._since = self._since, self._now()
        seconds = self._since[0] - before[0]
        return max(0.0, (self._since[1] - before[1]) - (self._since[2] - before[2])) / max(seconds, 0.01)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        fields = [int(part) for part in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
        busy = sum(fields[:3]) + sum(fields[5:8])
        return time.perf_counter(), busy / _TICKS, cpu_seconds(os.getpid())


def wait_quiet(limit: float, most: float = 0.1) -> float:
    """Waits until others take less than `most` cores for three seconds, for `limit` seconds at most.

    Returns the cores that they took at the end.
    """
    give_up = time.monotonic() + limit
    while True:
        others = Others()
        time.sleep(3)
        taken = others.cores()
        if taken < most or time.monotonic() > give_up:
            return taken


def _wait_ready(base: str, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=base, timeout=5) as client:
        while time.monotonic() < give_up:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
            try:
                if client.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"{process.args!r} was not ready in {START_SECONDS} s")


def _processes() -> Mapping[int, tuple[int, float]]:
    """Parent and processor seconds of each process."""
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name may hold spaces and brackets; the fields follow the last bracket.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
    return found


def _pss_kib(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
