"""What a document's formulas say: each must be one over what its provider gives it."""

from collections.abc import Iterator

from nearfeed_core.formula import VARIABLES, FormulaError, check_formula, variables_of
from nearfeed_recommender.config.faults import Found
from nearfeed_recommender.config.schema import Config, FormulaRanking


def formula_faults(config: Config) -> Iterator[Found]:
    """Formulas that cannot be computed, with what they may hold instead."""
    for name, provider in config.providers.items():
        if isinstance(provider.rank, FormulaRanking):
            try:
                names = variables_of(provider.sources).values()
                check_formula(provider.rank.formula, {*VARIABLES, *names})
            except FormulaError as error:
                yield ("providers", name, "rank", "formula"), str(error).removesuffix(".")
