"""The process `nearfeed-recommender`."""

from nearfeed_recommender.app.cli import app
from nearfeed_runtime.process import told_errors


def main() -> None:
    with told_errors():
        app()


if __name__ == "__main__":
    main()
