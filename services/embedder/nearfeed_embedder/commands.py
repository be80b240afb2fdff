"""The embedder's commands, the same in its own process and in `nearfeed`."""

from typing import Annotated, Any

import typer

from nearfeed_core.splits import LEAST_LATER, TRAIN_SHARE
from nearfeed_embedder.comparison.options import (
    Csv,
    Interactions,
    Items,
    LeastLater,
    Masked,
    Models,
    NewPosts,
    On,
    Reference,
    Share,
    TestFile,
    TrainFile,
    ValidFile,
)
from nearfeed_embedder.trainers.table import DEFAULT, TRAINERS
from nearfeed_runtime.operations import Runner, show

Model = Annotated[str, typer.Option(help=f"what to train: {', '.join(TRAINERS)}")]
Force = Annotated[bool, typer.Option("--force", help="write a run even below popularity")]


def make_app(run: Runner) -> typer.Typer:
    """An app with `train`, `retrain`, `runs` and `evaluate`, whose operations `run` carries out."""
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def train(
        model: Model = DEFAULT,
        epochs: Annotated[int | None, typer.Option(min=1, help="passes over the readers, at most")] = None,
        text_epochs: Annotated[int | None, typer.Option(min=0, help="passes over the texts")] = None,
        dim: Annotated[int | None, typer.Option(min=2, help="dimensions of PinSage's part")] = None,
        linear_dim: Annotated[int | None, typer.Option(min=1, help="dimensions of the linear part")] = None,
        seed: Annotated[int | None, typer.Option(min=0, help="seed of everything random")] = None,
        until: Annotated[
            str | None, typer.Option(help="leave out readings at this time and later, UTC in ISO 8601")
        ] = None,
        force: Force = False,
    ) -> None:
        """Train on all posts and readings, evaluate, and write a run.

        A model's options stand behind its name, as in --model als:factors=64,alpha=5; those below belong to
        pinsage-linear, and --seed to all that draw random numbers. docs/models.md has them all.

        Under torchrun its processes train together: torchrun --standalone --nproc-per-node 2 -m
        nearfeed_embedder train
        """
        chosen = {"epochs": epochs, "text_epochs": text_epochs, "seed": seed}
        dims = {"dim": dim, "linear_dim": linear_dim}
        show(run("train", {"model": model, **chosen, **dims, "until": until, "force": force}))

    @app.command()
    def retrain(
        name: Annotated[str, typer.Argument(metavar="RUN", help="a run of `runs`")], force: Force = False
    ) -> None:
        """Train a run again as its manifest says, on the readings up to its last one.

        With the same data, machine and versions it gets the same vectors. A reading counts at the time of
        its newest event, so one that somebody has added to since lies outside.
        """
        show(run("retrain", {"run": name, "force": force}))

    @app.command()
    def runs() -> None:
        """List runs with their metrics."""
        show(run("runs", {}))

    @app.command()
    def evaluate(
        models: Models = None,
        reference: Reference = None,
        csv: Csv = None,
        interactions: Interactions = None,
        items: Items = None,
        share: Share = TRAIN_SHARE,
        least_later: LeastLater = LEAST_LATER,
        new_posts: NewPosts = False,
        train: TrainFile = None,
        valid: ValidFile = None,
        test: TestFile = None,
        on: On = "test",
        mask: Masked = "train",
    ) -> None:
        """Compare baselines and runs by full ranking, with intervals and slices.

        MODELS are baselines (popularity, recent-popularity, item-knn, item-knn-bm25, als, ease, text), with
        settings as in als:factors=64,alpha=5, names or folders of runs, and blends of these as in
        'blend:RUN*2+als+item-knn@k=60,depth=500' (weights, k and depth may be left out); all baselines
        where none is named.

        The data are those that Nearfeed holds, or files: split by time, or given as lists.
        """
        files = {"interactions": interactions, "items": items, "train": train, "valid": valid, "test": test}
        arguments: dict[str, Any] = {"models": models or [], "reference": reference, "on": on, "mask": mask}
        arguments |= {"share": share, "least_later": least_later, "new_posts": new_posts}
        arguments |= {name: str(path.absolute()) for name, path in (files | {"csv": csv}).items() if path}
        show(run("evaluate", arguments))

    return app
