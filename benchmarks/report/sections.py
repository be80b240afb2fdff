"""The sections by their documents."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import experiments, feed, models, new_posts, pages, rankers, readme, text, walks

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Section:
    """What stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` in a document."""

    document: str
    name: str
    figures: Callable[[], str]

    def written(self) -> str:
        return self._parts()[1]

    def write(self) -> None:
        before, _, after = self._parts()
        (ROOT / self.document).write_text(before + self._begin + self.figures() + self._end + after)

    def _parts(self) -> tuple[str, str, str]:
        before, rest = (ROOT / self.document).read_text().split(self._begin)
        written, after = rest.split(self._end)
        return before, written, after

    @property
    def _begin(self) -> str:
        return f"<!-- {self.name}:begin -->\n"

    @property
    def _end(self) -> str:
        return f"<!-- {self.name}:end -->"


SECTIONS = (
    Section("README.md", "figures", readme.figures),
    Section("README.md", "feed", feed.short),
    Section("docs/operations.md", "feed", feed.full),
    Section("docs/text.md", "figures", text.figures),
    Section("docs/models.md", "lists", models.lists),
    Section("docs/models.md", "ablation", models.ablation),
    Section("docs/models.md", "by-time", models.by_time),
    Section("docs/models.md", "blending", models.blending),
    Section("docs/new-posts.md", "new-posts", new_posts.figures),
    Section("docs/random-walk.md", "figures", walks.figures),
    Section("docs/serving.md", "pages", pages.figures),
    Section("docs/rankers.md", "rankers", rankers.figures),
    Section("docs/experiments-statistics.md", "watched", experiments.watched),
    Section("docs/experiments-statistics.md", "regret", experiments.regret),
)
