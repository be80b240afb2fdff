"""The default: SimCSE, PinSage and a linear part in one vector (docs/models.md)."""

from typing import TYPE_CHECKING

from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.trainers.task import Task, Training

if TYPE_CHECKING:
    from nearfeed_embedder.recipe import Recipe


def train_pinsage_linear(task: Task) -> Training:
    """By the settings of the task. Raises RefusedModelError and TextModelError."""
    # torch and dgl take seconds to import, which other trainers need not wait for.
    from nearfeed_embedder.recipe import recipe_of

    return (yield from train_by(recipe_of(task.settings), task.dataset, force=task.force))


def train_by(recipe: "Recipe", dataset: Dataset, *, force: bool) -> Training:
    """By a recipe, together with the other processes of torchrun."""
    from nearfeed_embedder.devices import device_of
    from nearfeed_embedder.graph.data_parallel import leading
    from nearfeed_embedder.training import train_and_write

    with leading(device_of(recipe.settings.device)):
        return (yield from train_and_write(recipe, dataset, force=force))
