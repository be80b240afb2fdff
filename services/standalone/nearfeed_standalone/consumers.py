"""The recommender's consumers as a child process of the server, so that feeds share no interpreter with them.

They meet the server in SQL and on the log alone. A process that ends is started again, and goes on from its
position.
"""

import os
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

from nearfeed_runtime import metrics
from nearfeed_runtime.supervising import SupervisedProcess, end_with, supervise

_NICENESS = 5  # who reads a feed waits, who is in an event does not
_GRACE_SECONDS = 20.0


class ConsumerProcess:
    """The child of a server on `data_dir`, logging from `log_level` on. `metrics_folder` has its metrics."""

    def __init__(self, data_dir: Path, log_level: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nearfeed-metrics-")
        self.metrics_folder = Path(self._folder.name)
        command = [sys.executable, "-m", __name__, str(os.getpid()), str(data_dir), log_level]
        self._process = SupervisedProcess(
            "consumers",
            command,
            environment={metrics.FOLDER: self._folder.name},
            ended=lambda pid, _: metrics.mark_ended(pid, self.metrics_folder),
        )

    def run(self, stop: threading.Event) -> None:
        """Keeps it running until `stop` is set; it then finishes the batch that it is at."""
        supervise([self._process], stop, _GRACE_SECONDS)

    def exposition(self) -> bytes:
        """The metrics of this process and of the child."""
        return metrics.exposition(self.metrics_folder)

    def close(self) -> None:
        self._folder.cleanup()


def main() -> None:
    """Arguments: the id of the parent, the data folder and the level of logs."""
    parent, data_dir, log_level = sys.argv[1:]
    end_with(int(parent))
    os.nice(_NICENESS)
    # It takes a second, in which the parent may die.
    from nearfeed_recommender.app.bootstrap import bootstrap_consumer
    from nearfeed_recommender.settings import RecommenderSettings
    from nearfeed_runtime.logs import configure_logs
    from nearfeed_runtime.process import run_until_signal
    from nearfeed_runtime.settings import load_settings

    configure_logs(log_level)
    settings = load_settings(RecommenderSettings, data_dir=Path(data_dir))
    with closing(bootstrap_consumer(settings)) as service:
        run_until_signal(service.consumer_loops)


if __name__ == "__main__":
    main()
