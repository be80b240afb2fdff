"""The steps `load` and `activate`: the run becomes a space, and the space is served."""

from sqlalchemy import select

from nearfeed_contracts.runs import Manifest
from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_indexer.catalogue import READY
from nearfeed_runtime.operations import Said
from nearfeed_runtime.sql import read_connection
from nearfeed_standalone.pipeline.context import Context, Outputs, Work
from nearfeed_standalone.pipeline.definition import Activate, Load
from nearfeed_standalone.pipeline.fingerprints import Json, digest_of_run


def serve_inputs(_context: Context, _section: Load | Activate, outputs: Outputs) -> Json:
    return {"run": outputs["train"]}


def load_space(context: Context, section: Load, outputs: Outputs) -> Work:
    run = outputs["train"]
    if is_ready(context, run):
        yield Said(f"Space {run['run']} is loaded already.")
    else:
        yield from context.run("load", {"run": run["run"], "activate": False, "wait": section.wait})
    return dict(run)


def activate_space(context: Context, _section: Activate, outputs: Outputs) -> Work:
    run = outputs["train"]
    yield from context.run("spaces.activate", {"space": run["run"]})
    return dict(run)


def is_ready(context: Context, output: Json) -> bool:
    """Whether there is a ready space of what the run holds."""
    query = select(spaces.c.state, spaces.c.manifest).where(spaces.c.space == output["run"])
    with read_connection(context.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.state != READY:
        return False
    return bool(digest_of_run(Manifest.model_validate_json(row.manifest)) == output["digest"])


def is_served(context: Context, output: Json) -> bool:
    with read_connection(context.engine) as connection:
        active = connection.scalar(select(active_space_name()))
    return bool(active == output["run"]) and is_ready(context, output)
