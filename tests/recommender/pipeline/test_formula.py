"""Formulas: against Python's own evaluation, and nothing but a FormulaError for any text."""

from contextlib import suppress
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nearfeed_core.formula import (
    FormulaError,
    check_formula,
    evaluate_formula,
    variables_of,
)

VALUES = {
    "score": np.array([0.0, 0.5, -2.0, 7.25, 1e4]),
    "freshness": np.array([1.0, 0.25, 0.0, 0.75, 1e-9]),
}
PYTHON: dict[str, Any] = {
    "__builtins__": {},
    "abs": np.abs,
    "clip": np.clip,
    "exp": np.exp,
    "log1p": np.log1p,
    "max": lambda *values: reduce(np.maximum, values),
    "min": lambda *values: reduce(np.minimum, values),
    "sqrt": np.sqrt,
}


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from(["+", "-", "*", "/", "**"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, operator, inner),
        st.builds("{} {} {}".format, inner, operator, inner),
        st.builds("-{}".format, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "exp", "log1p", "sqrt"]), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("clip({}, -1.5, 2.0)".format, inner),
    )


FORMULAS = st.recursive(st.sampled_from(["score", "freshness", "0.5", "2.0", "3.0"]), grown, max_leaves=12)


@settings(deadline=None)
@given(text=FORMULAS)
def test_a_formula_is_what_python_makes_of_it(text: str) -> None:
    assume(len(text) <= 500)
    try:
        with np.errstate(all="ignore"):
            wanted = np.broadcast_to(eval(text, PYTHON, dict(VALUES)), 5)
    except (ZeroDivisionError, OverflowError):
        assume(False)
    assume(not np.iscomplexobj(wanted))
    got = evaluate_formula(text, VALUES)
    fine = np.abs(wanted) <= 1e300
    assert got[fine] == pytest.approx(wanted[fine], rel=1e-12)
    assert np.isfinite(got).all()
    assert not fine.any() or not (~fine).any() or got[~fine].max() < wanted[fine].min()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("score * freshness + 1", [1.0, 1.125, 1.0, 6.4375, 1.00001]),
        ("-score ** 2", [0.0, -0.25, -4.0, -52.5625, -1e8]),
        ("2", [2.0] * 5),
        ("1 / score", [-1.5, 2.0, -0.5, 1 / 7.25, 1e-4]),
        ("sqrt(score)", [0.0, 0.5**0.5, -1.0, 7.25**0.5, 100.0]),
        ("9 ** 9 ** 9 ** 9", [-1.0] * 5),
        ("max(score,\n  freshness, 0.3)", [1.0, 0.5, 0.3, 7.25, 1e4]),
    ],
)
def test_formulas_by_hand(text: str, wanted: list[float]) -> None:
    assert evaluate_formula(text, VALUES) == pytest.approx(wanted)


@pytest.mark.parametrize("lowest", [-1e300, -3.0, 0.0, 5.0, 1e300])
def test_what_is_no_number_comes_last(lowest: float) -> None:
    values = np.array([np.nan, lowest, np.inf, -np.inf, 1e300])
    got = evaluate_formula("score", {"score": values})
    assert np.isfinite(got).all()
    assert max(got[[0, 2, 3]]) < lowest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("score + recency", "recency, which is not known; known are freshness, score"),
        ("log(score)", "log, which is not known; known are abs, clip, exp, log1p, max, min, sqrt"),
        ("exp", "exp, which is not known"),
        ("min(score)", "min with 1 arguments; give it 2 or more"),
        ("clip(score, 1)", "clip with 2 arguments; give it 3"),
        ("exp(x=score)", "'exp(x=score)'"),
        ("max(*score, 1)", "'*score'"),
        ("score.__class__", "'score.__class__'"),
        ("score if score else 1", "'score if score else 1'"),
        ("score < 1", "'score < 1'"),
        ("True", "'True'"),
        ("'a' * 9", "\"'a'\""),
        ("2j", "'2j'"),
        ("score // 2", "'score // 2'"),
        ("~score", "'~score'"),
        ("(lambda: 1)()", "it may have numbers"),
        ("score +", "is no formula"),
        ("", "is no formula"),
        ("1" + "0" * 301, "number above 1e+300"),
        ("1e999", "number above 1e+300"),
        ("score" + " + 1" * 130, "at most 500 characters"),
        ("score" + "+1" * 100, "at most 64 levels"),
        ("-" * 499 + "1", ""),
        ("(" * 240 + "1" + ")" * 240, ""),
    ],
)
def test_what_is_no_formula_is_told(text: str, told: str) -> None:
    with pytest.raises(FormulaError) as refused:
        check_formula(text, VALUES)
    assert told in str(refused.value)


@settings(deadline=None)
@given(text=st.text(max_size=80) | st.text("score+-*/(),.1e[]:lambda=\n#\\'\0", max_size=80))
def test_any_text_is_a_formula_or_a_formula_error(text: str) -> None:
    with suppress(FormulaError):
        assert np.isfinite(evaluate_formula(text, VALUES)).all()


def test_sources_get_variables() -> None:
    assert variables_of(["item-knn", "walk", "2nd"]) == {
        "item-knn": "item_knn",
        "walk": "walk",
        "2nd": "_2nd",
    }
    for clash in (["a-b", "a_b"], ["score"], ["exp"]):
        with pytest.raises(FormulaError, match="rename it"):
            variables_of(clash)
