"""Measures the structure of the code: size, cycles, thin modules, long signatures.

    python tools/structure.py [FOLDER …]

Reads the checkout that it is called in; nothing is imported but by grimp, which reads imports. Tests and
benchmarks are left out.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grimp
import networkx as nx

PACKAGES = {
    "nearfeed_contracts": "contracts",
    "nearfeed_core": "core",
    "nearfeed_runtime": "runtime",
    "nearfeed_backends": "backends",
    "nearfeed_ui": "ui",
    "nearfeed_embedder": "services/embedder",
    "nearfeed_indexer": "services/indexer",
    "nearfeed_recommender": "services/recommender",
    "nearfeed_standalone": "services/standalone",
}
MOST_PARAMETERS = 5
THIN_LINES = 60


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    head = ("package", "modules", "lines", "in cycles", "thin", "over 5 parameters")
    rows = [head, *(measured(root, name, folder) for name, folder in PACKAGES.items())]
    totals = [sum(int(row[place]) for row in rows[1:]) for place in range(1, len(head))]
    rows.append(("all", *map(str, totals)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        sys.stdout.write("  ".join(cells) + "\n")


def measured(root: Path, name: str, folder: str) -> tuple[str, ...]:
    """A package's modules and lines, and how many of its sub-packages, modules and functions are at fault."""
    files = sorted((root / folder / name).rglob("*.py"))
    texts = [file.read_text() for file in files]
    trees = [ast.parse(text) for text in texts]
    thin = [
        file
        for file, text, tree in zip(files, texts, trees, strict=True)
        if file.name != "__init__.py" and text.count("\n") < THIN_LINES and len(public_names(tree)) == 1
    ]
    long = [function for tree in trees for function in long_signatures(tree)]
    lines = sum(text.count("\n") for text in texts)
    counts = (len(files), lines, len(in_cycles(root / folder, name)), len(thin), len(long))
    return (name, *map(str, counts))


def in_cycles(folder: Path, name: str) -> set[str]:
    """The sub-packages and top-level modules that import each other in a circle."""
    sys.path.insert(0, str(folder))
    graph = grimp.build_graph(name, cache_dir=None)
    siblings: nx.DiGraph[str] = nx.DiGraph()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = [part.split(".")[1] for part in (module, imported) if "." in part]
            if len(ends) == 2 and ends[0] != ends[1]:
                siblings.add_edge(*ends)
    return {node for part in nx.strongly_connected_components(siblings) if len(part) > 1 for node in part}


def public_names(tree: ast.Module) -> Sequence[str]:
    """Functions and classes of a module whose names do not begin with an underscore."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def long_signatures(tree: ast.Module) -> Iterator[str]:
    """Functions with more than five parameters, `self` and `cls` not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > MOST_PARAMETERS:
                yield node.name


if __name__ == "__main__":
    main()
