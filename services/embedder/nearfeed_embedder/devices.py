"""Where torch runs."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from nearfeed_embedder.processes import local_rank, size
from nearfeed_runtime.settings import SettingsError


def device_of(name: str) -> torch.device:
    """The device of a setting; `auto` takes CUDA where there is one. Raises SettingsError.

    Processes that train together take a CUDA device each.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError("NEARFEED_DEVICE: there is no CUDA device here; set it to cpu or auto.")
    return _own_device(name) if name.startswith("cuda") and size() > 1 else torch.device(name)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small work on the CPU: threads that wait for each other at every layer take longer than one.

    On a machine whose cores are busy they take many times as long. Holds for the calling thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_batch_a_thread(device: torch.device) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` whose calls run side by side on the CPU, each by one thread that waits for no other.

    There are as many threads as torch would take for one call. On another device it is `map` itself.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def _own_device(name: str) -> torch.device:
    if name != "cuda":
        raise SettingsError(
            f"NEARFEED_DEVICE: {name} is one device, and processes that train together take one each; "
            "set it to cuda, auto or cpu."
        )
    count = torch.cuda.device_count()
    if local_rank() >= count:
        raise SettingsError(
            f"NEARFEED_DEVICE: there are more processes than CUDA devices here ({count}); start torchrun "
            f"with --nproc-per-node {count}, or set it to cpu."
        )
    return torch.device("cuda", local_rank())
