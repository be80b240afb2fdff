"""What is named with settings on the command line, such as `als:factors=64,alpha=5`."""


def name_and_settings(asked: str) -> tuple[str, list[tuple[str, str]]]:
    """The name before the colon, and the keys and values after it."""
    name, _, settings = asked.partition(":")
    pairs = [part.partition("=") for part in settings.split(",") if part]
    return name, [(key, value) for key, _, value in pairs]
