"""What a command says are its steps; logs come beside them where they warn, or are asked for."""

from nearfeed_runtime.logs import configure_logs
from nearfeed_runtime.settings import Settings, load_settings


def warning_level() -> str:
    """WARNING, unless NEARFEED_LOG_LEVEL is set."""
    settings = load_settings(Settings)
    return settings.log_level if "log_level" in settings.model_fields_set else "WARNING"


def log_warnings_alone() -> None:
    """Logs from the quiet level on."""
    configure_logs(warning_level())
