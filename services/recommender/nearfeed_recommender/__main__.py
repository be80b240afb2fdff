"""The process `nearfeed-recommender`."""

from nearfeed_recommender.app.cli import app
from nearfeed_runtime.process import exit_on_error


def main() -> None:
    with exit_on_error():
        app()


if __name__ == "__main__":
    main()
