"""The step `import`: files, and an app's database."""

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import true

from nearfeed_runtime.operations import Said
from nearfeed_standalone.importing.app_engine import absolute_url
from nearfeed_standalone.importing.database import QuerySource, open_sources
from nearfeed_standalone.importing.files import check_file, hash_of
from nearfeed_standalone.importing.source import Source
from nearfeed_standalone.pipeline.context import Context, Outputs, StepError, Work
from nearfeed_standalone.pipeline.definition import ImportSource
from nearfeed_standalone.pipeline.fingerprints import Json

FROM = "NEARFEED_IMPORT_FROM"


def import_inputs(_context: Context, sources: Sequence[ImportSource], _outputs: Outputs) -> Json:
    """A file by its content; a query by its database and map, its last key and how many rows it has.

    Raises NearfeedError for what cannot be read.
    """
    return {"sources": [_known_by(source) for source in sources]}


def take_in(context: Context, sources: Sequence[ImportSource], _outputs: Outputs) -> Work:
    if not sources:
        yield Said("Nothing to import: posts and readings come by the API and the log.")
    for source in sources:
        if source.map is not None:
            yield from context.run("import.database", {"url": _url_of(source), "map_path": str(source.map)})
        else:
            yield from context.run("import", {"kind": source.kind, "path": str(source.file)})
    return {}


def _known_by(source: ImportSource) -> Any:
    if source.file is not None:
        check_file(source.file)
        return [source.kind, hash_of(source.file)]
    assert source.map is not None
    with open_sources(_url_of(source), source.map) as found:
        return [_position_of(kind, query) for kind, query in found]


def _position_of(kind: str, query: Source) -> list[Any]:
    assert isinstance(query, QuerySource)
    last = query.relation.last_key()
    told = None if last is None else query.relation.encoded(last)
    return [kind, query.identity, told, query.relation.count(true())]


def _url_of(source: ImportSource) -> str:
    url = source.from_ or os.environ.get(FROM)
    if not url:
        raise StepError(f"The import by {source.map} names no database: add `from`, or set {FROM}.")
    return absolute_url(url)
