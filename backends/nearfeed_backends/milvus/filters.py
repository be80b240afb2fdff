"""Filters as Milvus expressions."""

from collections.abc import Iterable

from nearfeed_contracts.vector_store import Filter


def expression(where: Filter) -> str:
    """The Milvus expression of a filter; empty where it allows everything."""
    terms = []
    if where.community_ids is not None:
        terms.append(one_of("community_id", where.community_ids))
    if where.published_after is not None:
        terms.append(f"published_at >= {where.published_after}")
    if where.item_ids is not None:
        terms.append(one_of("item_id", where.item_ids))
    if where.exclude_item_ids:
        terms.append(one_of("item_id", where.exclude_item_ids, "not in"))
    if where.exclude_author_ids:
        terms.append(one_of("author_id", where.exclude_author_ids, "not in"))
    return " and ".join(terms)


def one_of(field: str, values: Iterable[str], operator: str = "in") -> str:
    """`field in ["a", "b"]`."""
    return f"{field} {operator} [{', '.join(map(_quoted, values))}]"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
