"""Regret of Thompson sampling against uniform choice and against one fixed arm, in a simulation.

    python -m benchmarks.bandits

Writes benchmarks/results/bandits.csv and docs/images/regret.svg, which is drawn from it.
"""

from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from benchmarks.report.rows import Row, read
from benchmarks.results_file import put_rows
from nearfeed_core.experiments import regret

mpl.use("svg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent / "results" / "bandits.csv"
PLOT = Path(__file__).parents[1] / "docs" / "images" / "regret.svg"
RATES = (0.05, 0.06, 0.08, 0.04)
# The third arm is best for all together, each of the others is best in one half of the contexts.
WEIGHTS = ((0.10, 0.05), (0.10, -0.05), (0.11, 0.0), (0.06, 0.0))
BATCHES, PER_BATCH, RUNS, POINTS = 200, 200, 20, 20
FLOOR = 0.02
PLAIN, BY_CONTEXT = "four arms", "four arms, two contexts"
STYLES = {"Thompson": "-", "LinTS": "-", "uniform": "--", "best fixed arm": ":"}
Curves = NDArray[np.float64]


def main() -> None:
    put_rows(RESULTS, list(measured()), of=itemgetter("setting", "policy", "delay", "requests"))
    PLOT.parent.mkdir(exist_ok=True)
    draw(read(RESULTS.name), PLOT)


def measured() -> Iterator[dict[str, str]]:
    """Mean regret over runs after each of POINTS numbers of requests."""
    for setting, policy, delay, run in _cases():
        curves = np.stack([run(seed) for seed in range(RUNS)])
        for batch in range(BATCHES // POINTS - 1, BATCHES, BATCHES // POINTS):
            yield {
                "setting": setting,
                "policy": policy,
                "delay": str(delay),
                "requests": str((batch + 1) * PER_BATCH),
                "regret": f"{curves[:, batch].mean():.2f}",
                "error": f"{curves[:, batch].std(ddof=1) / np.sqrt(RUNS):.2f}",
                "floor": str(FLOOR),
                "per_batch": str(PER_BATCH),
                "runs": str(RUNS),
            }


def draw(rows: list[Row], file: Path) -> None:
    """One panel for each setting, with bands of two standard errors."""
    plt.rcParams.update({"svg.hashsalt": "nearfeed", "svg.fonttype": "none", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for panel, setting in zip(panels, (PLAIN, BY_CONTEXT), strict=True):
        of_setting = [row for row in rows if row["setting"] == setting]
        for policy, delay in dict.fromkeys((row["policy"], row["delay"]) for row in of_setting):
            curve = [row for row in of_setting if (row["policy"], row["delay"]) == (policy, delay)]
            x, y, error = (
                np.array([float(row[name]) for row in curve]) for name in ("requests", "regret", "error")
            )
            late = policy in ("Thompson", "LinTS")
            name = (
                f"{policy}, outcomes {delay} {'batch' if delay == '1' else 'batches'} late"
                if late
                else policy
            )
            panel.plot(x, y, STYLES[policy], label=name)
            panel.fill_between(x, y - 2 * error, y + 2 * error, alpha=0.2)
        panel.set(
            title=setting, xlabel="requests", ylabel="regret, in clicks", xlim=(0, None), ylim=(0, None)
        )
        panel.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None}, facecolor="white")


def _cases() -> Iterator[tuple[str, str, int, Callable[[int], Curves]]]:
    plain = {"uniform": regret.uniform(), "best fixed arm": regret.fixed(int(np.argmax(RATES)))}
    by_context = {"uniform": regret.uniform_by_context(), "best fixed arm": regret.fixed_by_context(2)}
    for delay in (1, 20):
        yield PLAIN, "Thompson", delay, _plain(regret.thompson(FLOOR), delay)
    for name, policy in plain.items():
        yield PLAIN, name, 1, _plain(policy, 1)
    for delay in (1, 20):
        yield BY_CONTEXT, "LinTS", delay, _by_context(regret.lints(FLOOR), delay)
    for name, chosen in by_context.items():
        yield BY_CONTEXT, name, 1, _by_context(chosen, 1)


def _plain(policy: regret.Policy, delay: int) -> Callable[[int], Curves]:
    return lambda seed: regret.regret(
        RATES, policy, batches=BATCHES, per_batch=PER_BATCH, delay=delay, seed=seed
    )


def _by_context(policy: regret.ContextPolicy, delay: int) -> Callable[[int], Curves]:
    return lambda seed: regret.regret_by_context(
        WEIGHTS, policy, batches=BATCHES, per_batch=PER_BATCH, delay=delay, seed=seed
    )


if __name__ == "__main__":
    main()
