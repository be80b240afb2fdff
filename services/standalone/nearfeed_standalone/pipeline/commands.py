"""`nearfeed pipeline`: run the steps from data to what is served, and look at former runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearfeed_runtime.operations import show
from nearfeed_standalone.pipeline.definition import DEFAULT, STEPS, read_pipeline

if TYPE_CHECKING:
    from nearfeed_standalone.pipeline.context import Context

Given = Annotated[
    str,
    typer.Argument(metavar="PIPELINE", help="A .yaml file, or the name of a pipeline that is built in."),
]
Elsewhere = Annotated[
    bool,
    typer.Option(
        "--services-elsewhere",
        help="The services run in other processes, as in a cluster: wait for them.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run every step, even if nothing has changed.")]
StepName = typer.Argument(metavar="STEP", help=f"One of {', '.join(STEPS)}.", show_default=False)
RunName = typer.Option(
    "--run",
    metavar="RUN",
    help="The run that the step belongs to; its first step begins it.",
    show_default=False,
)


def make_app(data_dir: Callable[[], Path]) -> typer.Typer:
    """The commands `run`, `step`, `list` and `show` on the folder of `data_dir` and its database."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Run the steps from data to a served space; steps with unchanged inputs are skipped.",
    )
    _add_running(app, data_dir)
    _add_listing(app, data_dir)
    return app


def _add_running(app: typer.Typer, data_dir: Callable[[], Path]) -> None:
    @app.command(short_help="Run all steps, without those whose inputs have not changed.")
    def run(
        pipeline: Given = DEFAULT,
        force: Force = False,
        from_: Annotated[
            str | None, typer.Option("--from", metavar="STEP", help="Run every step from this one on.")
        ] = None,
        services_elsewhere: Elsewhere = False,
    ) -> None:
        """Import, train, evaluate, gate, load, activate: those of these that the pipeline has.

        A step is skipped where its inputs are those of its last success, and its effect still stands.

        After a failure, or a kill, the same command goes on from there.
        """
        from nearfeed_standalone.pipeline.executing import Execution, new_run_id, run_pipeline

        chosen = read_pipeline(pipeline)
        first = _checked(from_, chosen.steps) if from_ else None
        anew = chosen.steps if force else chosen.steps[chosen.steps.index(first) :] if first else []
        with _opened(data_dir(), services_elsewhere) as context:
            run_pipeline(Execution(context, chosen, new_run_id(chosen), anew))

    @app.command(short_help="Run one step, for another scheduler.")
    def step(
        name: Annotated[str, StepName],
        run_id: Annotated[str, RunName],
        pipeline: Given = DEFAULT,
        force: Force = False,
        services_elsewhere: Elsewhere = False,
    ) -> None:
        """The steps of a run are called in their order with one name, such as the scheduler's own for it.

        State and fingerprints are those of `run`. A step that the pipeline does not have is passed over.
        """
        from nearfeed_standalone.pipeline.executing import Execution, run_one_step

        chosen = read_pipeline(pipeline)
        if _checked(name, list(STEPS)) not in chosen.steps:
            typer.echo(f"Pipeline {chosen.name} has no step {name}: nothing to do.")
            return
        with _opened(data_dir(), services_elsewhere) as context:
            run_one_step(Execution(context, chosen, run_id, [name] if force else []), name)


def _add_listing(app: typer.Typer, data_dir: Callable[[], Path]) -> None:
    @app.command("list")
    def list_() -> None:
        """List all runs with their states."""
        from nearfeed_standalone.pipeline.listing import list_runs

        with _opened(data_dir()) as context:
            show(list_runs(context.engine))

    @app.command("show")
    def show_(run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run of `list`.")]) -> None:
        """Show the steps of a run: states, times, what each has put out, or why it failed."""
        from nearfeed_standalone.pipeline.listing import show_run

        with _opened(data_dir()) as context:
            show(show_run(context.engine, run_id))


def _checked(step: str, steps: list[str]) -> str:
    if step not in steps:
        raise typer.BadParameter(f"{step!r} is no step; there are {', '.join(steps)}.")
    return step


@contextmanager
def _opened(data_dir: Path, services_elsewhere: bool = False) -> Iterator["Context"]:
    """Opening takes a second, which `--help` need not."""
    from nearfeed_backends.opening import open_database
    from nearfeed_runtime.settings import Settings, load_settings
    from nearfeed_standalone.pipeline.context import Context
    from nearfeed_standalone.quiet import log_warnings_alone
    from nearfeed_standalone.running import make_runner
    from nearfeed_standalone.training import train

    log_warnings_alone()
    settings = load_settings(Settings, data_dir=data_dir)
    engine = open_database(settings.database_url)
    try:
        runner = make_runner(data_dir, services_elsewhere=services_elsewhere)
        yield Context(settings, engine, runner, partial(train, data_dir))
    finally:
        engine.dispose()
