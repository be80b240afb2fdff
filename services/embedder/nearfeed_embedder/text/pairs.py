"""Which texts fine-tuning brings together."""

from collections.abc import Sequence

from nearfeed_embedder.settings import Objective

Pair = tuple[str, str]


def pairs_of(texts: Sequence[str], objective: Objective) -> list[Pair]:
    """One pair of each distinct text, in order: with itself, or its title with its body.

    The title is the first line, the body what follows. A text that has one of them alone is paired
    with itself, as all are where the objective is unsupervised.
    """
    distinct = sorted(set(texts))
    if objective == "unsupervised":
        return [(text, text) for text in distinct]
    return [title_and_body(text) for text in distinct]


def title_and_body(text: str) -> Pair:
    """The first line and the rest, or the text twice where either is blank."""
    title, _, body = (part.strip() for part in text.partition("\n"))
    return (title, body) if title and body else (text, text)
