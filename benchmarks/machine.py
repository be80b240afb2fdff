"""What a figure was measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "torch",
    "dgl",
    "numba",
    "transformers",
    "pymilvus",
    "milvus-lite",
    "faiss-cpu",
    "opensearch-py",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "numpy",
    "lightgbm",
    "torch-rechub",
    "onnxruntime",
)


def processor() -> str:
    """The processor's name as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def description() -> dict[str, str]:
    """Machine and versions, a column each."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory_gib": f"{pages / 2**30:.0f}",
        "python": platform.python_version(),
        "libraries": " ".join(filter(None, map(_versioned, LIBRARIES))),
    }


def _versioned(name: str) -> str:
    """`name=version`; nothing where it is not installed."""
    try:
        return f"{name}={version(name)}"
    except PackageNotFoundError:
        return ""
