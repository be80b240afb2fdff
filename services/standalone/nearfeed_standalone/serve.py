"""`nearfeed serve`: the process that holds the data folder, with the API and all loops but the consumers."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address
from pathlib import Path

import structlog

from nearfeed_recommender.app.bootstrap import keys_in_sql
from nearfeed_recommender.app.server import bind, serve
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.logs import configure_logs
from nearfeed_runtime.operations import show
from nearfeed_runtime.settings import SettingsError, load_settings
from nearfeed_standalone.admin import make_router
from nearfeed_standalone.lock import DataFolder, hold
from nearfeed_standalone.services import Services, in_loops, open_services

logger = structlog.get_logger(__name__)


def serve_folder(data_dir: Path, host: str | None = None, port: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT. Spaces whose vectors the store lacks are loaded before.

    Raises FolderInUseError and BindError before it opens anything.
    """
    with ExitStack() as resources:
        folder = resources.enter_context(hold(data_dir))
        listener = resources.enter_context(listening(data_dir, host, port))
        services = resources.enter_context(open_services(data_dir))
        configure_logs(services.settings.log_level)
        show(services.operations["spaces.restore"]())
        serve_services(folder, services, listener, _log_url, services.settings.log_level)


def listening(data_dir: Path, host: str | None, port: int | None) -> closing[socket.socket]:
    """The bound address, to be closed at the end. Raises BindError and SettingsError."""
    settings = load_settings(RecommenderSettings, data_dir=data_dir, host=host, port=port)
    if settings.api_workers > 1:
        raise SettingsError(
            "NEARFEED_API_WORKERS: `nearfeed serve` has one process for the API; set it to 1, or run "
            "`nearfeed-recommender api` on servers."
        )
    return closing(bind(settings, keys_in_sql))


def serve_services(
    folder: DataFolder,
    services: Services,
    listener: socket.socket,
    ready: Callable[[str], None],
    log_level: str,
) -> None:
    """Serves wired services, and takes commands for the folder meanwhile; `ready` is told the URL."""
    services.app.include_router(make_router(services.operations, folder.owner.token))
    with in_loops(services, log_level), ExitStack() as resources:
        listeners = [listener]
        if not reachable_by_loopback(listener):
            listeners.append(resources.enter_context(closing(_loopback())))
        for each in listeners:
            each.listen()
        folder.announce(url_of(listeners[-1]))
        ready(url_of(listener))
        with _signals_end_serving():
            serve(services.app, *listeners)


def _log_url(url: str) -> None:
    logger.info("serving", docs=f"{url}/docs")


def url_of(listener: socket.socket) -> str:
    """Where a listener can be reached from this machine."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable_by_loopback(listener: socket.socket) -> bool:
    address = ip_address(listener.getsockname()[0])
    return address.is_loopback or address.is_unspecified


def _loopback() -> socket.socket:
    """A second listener, for commands alone, where the first has an outer address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@contextmanager
def _signals_end_serving() -> Iterator[None]:
    """The server ends in order on a signal and raises it again then, which shall end no more than that."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
