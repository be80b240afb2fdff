"""Writes what was measured into the documents.

python -m benchmarks.report
"""

from benchmarks.report.sections import SECTIONS


def main() -> None:
    for section in SECTIONS:
        section.write()


if __name__ == "__main__":
    main()
