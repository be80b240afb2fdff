"""`experiments`: providers side by side, by a file that is applied, started, ramped and stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nearfeed_recommender.config.commands import ArgumentError, Author, Reason, read_file, user_of
from nearfeed_runtime.operations import Runner, show

_HELP = "Experiments: providers side by side, with honest statistics of which is better."
Name = Annotated[str, typer.Argument(metavar="NAME", help="The experiment, as in `experiments list`.")]


def make_app(run: Runner) -> typer.Typer:
    """The commands, which `run` carries out."""
    app = typer.Typer(no_args_is_help=True, help=_HELP)
    _add_reading(app, run)
    _add_changing(app, run)
    return app


def _add_reading(app: typer.Typer, run: Runner) -> None:
    @app.command("list")
    def list_() -> None:
        """List experiments, newest first."""
        show(run("experiments.list", {}))

    @app.command("show")
    def show_(name: Name) -> None:
        """Show an experiment's design and its arms as they are assigned."""
        show(run("experiments.show", {"name": name}))

    @app.command()
    def results(name: Name) -> None:
        """Tell what came of an experiment, with intervals that hold at any look."""
        show(run("experiments.results", {"name": name}))

    @app.command()
    def size(
        target: Annotated[
            str, typer.Argument(metavar="TARGET", help="Where it is to run: feed, or PAGE/SECTION.")
        ] = "feed",
        metric: Annotated[str, typer.Option(help="What is measured.")] = "ctr",
        lift: Annotated[float, typer.Option(help="Relative lift to detect; 0.05 is 5 %.")] = 0.05,
        power: Annotated[float, typer.Option(help="Power.")] = 0.8,
        alpha: Annotated[float, typer.Option(help="False positive rate (alpha).")] = 0.05,
        share: Annotated[float, typer.Option(help="The share of readers of each of the two arms.")] = 0.5,
        comparisons: Annotated[
            int, typer.Option(help="The arms beside the control, the holdout included; they share alpha.")
        ] = 1,
    ) -> None:
        """Tell how many readers and days an experiment needs, from what the ledger has."""
        wanted = {"metric": metric, "lift": lift, "power": power, "alpha": alpha, "share": share}
        told = {"target": _target(target), **wanted, "comparisons": comparisons}
        show(run("experiments.size", told))

    @app.command()
    def evaluate(
        provider: Annotated[
            str, typer.Argument(metavar="PROVIDER", help="The provider or policy to evaluate.")
        ],
        experiment: Annotated[
            str | None,
            typer.Option(help="The experiment whose requests are used; the newest that fits by default."),
        ] = None,
        metric: Annotated[
            str | None, typer.Option(help="The metric; that of the experiment by default.")
        ] = None,
        below: Annotated[
            list[str] | None,
            typer.Option(metavar="READINGS:PROVIDER", help="Readers with fewer readings get this provider."),
        ] = None,
    ) -> None:
        """Tell what a provider would have earned, from requests whose arm was drawn by chance."""
        rules = [_rule(text) for text in below or ()]
        told = {"provider": provider, "experiment": experiment, "metric": metric, "rules": rules}
        show(run("experiments.evaluate", told))


def _target(text: str) -> Any:
    page, slash, section = text.rpartition("/")
    return {"page": page, "section": section} if slash else text


def _rule(text: str) -> dict[str, Any]:
    readings, colon, provider = text.partition(":")
    if not colon or not readings.isdecimal():
        raise ArgumentError(f"--below: {text!r} is no number of readings with a provider, such as 5:popular.")
    return {"readings_below": int(readings), "provider": provider}


def _add_changing(app: typer.Typer, run: Runner) -> None:
    @app.command("apply")
    def apply_(
        file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A design.")],
        reason: Reason,
        author: Author = None,
    ) -> None:
        """Make an experiment by a file, or change one that has not been started."""
        show(run("experiments.apply", {**read_file(file), **_stated(author, reason)}))

    @app.command()
    def start(name: Name, reason: Reason, author: Author = None) -> None:
        """Serve a draft; every process does within two seconds."""
        show(run("experiments.start", {"name": name, **_stated(author, reason)}))

    @app.command()
    def ramp(
        name: Name,
        traffic: Annotated[
            float, typer.Argument(min=0.001, max=1, help="Its share of the layer, such as 0.5.")
        ],
        reason: Reason,
        author: Author = None,
    ) -> None:
        """Give an experiment more or less traffic: who is in stays in while it grows."""
        show(run("experiments.ramp", {"name": name, "traffic": traffic, **_stated(author, reason)}))

    @app.command()
    def stop(
        name: Name,
        reason: Reason,
        arm: Annotated[str | None, typer.Option(help="Stop this arm alone.")] = None,
        adopted: Annotated[str | None, typer.Option(help="The arm that was chosen.")] = None,
        author: Author = None,
    ) -> None:
        """End an experiment or one of its arms: its readers get what the configuration says."""
        told = {"name": name, "arm": arm, "adopted": adopted}
        show(run("experiments.stop", {**told, **_stated(author, reason)}))


def _stated(author: str | None, reason: str) -> dict[str, Any]:
    return {"author": author or user_of(), "reason": reason}
