"""What a query may cost, known before anything is read."""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    Node,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    VariableNode,
    Visitor,
    get_named_type,
    visit,
)
from strawberry.extensions import SchemaExtension

from nearfeed_contracts.fields import MAX_LIMIT

MAX_TOKENS = 1_000
MAX_DEPTH = 12
MAX_ALIASES = 20
MAX_SPREADS = 25
MAX_COST = 5_000
PRICE_OF_RELATION = 10
PRICE_OF_SEARCH = 500
_RELATIONS = ("similar", "related")
_LIMIT = "limit"
_SEARCH = "search"


class CostLimiter(SchemaExtension):
    """Refuses a query that may answer with too much.

    Every object that the query may answer with costs 1, so that limits are multiplied along a path, and
    following a relation from an object 10 more, for it may be a search of the vector store. The argument
    `search` costs 500, for SQL may have to read the whole table. Fragments are counted
    where they are used. How often they may be used is limited beforehand: each of a few that use each
    other twice doubles what has to be looked at, here and in the other rules.
    """

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        spreads = _spreads(context.graphql_document) if context.graphql_document else 0
        if spreads > MAX_SPREADS:
            fault = f"The query uses fragments {spreads} times; {MAX_SPREADS} times are allowed."
            context.pre_execution_errors = [GraphQLError(fault)]
        else:
            rule = _rule_with(context.variables or {})
            context.validation_rules = (*context.validation_rules, rule)
        yield


def _spreads(document: DocumentNode) -> int:
    class Counter(Visitor):
        count = 0

        def enter_fragment_spread(self, *_: Any) -> None:
            self.count += 1

    counter = Counter()
    visit(document, counter)
    return counter.count


def _rule_with(variables: Mapping[str, Any]) -> type[ValidationRule]:
    class CostRule(ValidationRule):
        def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
            cost = _Cost(self.context, {**_defaults(node), **variables})
            root = self.context.schema.get_root_type(node.operation)
            total = cost.of_selections(node.selection_set, root, 1, frozenset())
            if total > MAX_COST:
                self.report_error(
                    GraphQLError(
                        f"The query may cost {total:,}; {MAX_COST:,} is allowed. Ask for smaller limits.",
                        node,
                    )
                )

    return CostRule


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }


def _price(node: FieldNode) -> int:
    """What asking for the field costs for each object, whatever it answers with."""
    searches = any(each.name.value == _SEARCH for each in node.arguments or ())
    return PRICE_OF_RELATION * (node.name.value in _RELATIONS) + PRICE_OF_SEARCH * searches


class _Cost:
    """Of an operation of one document, with its variables."""

    def __init__(self, context: ValidationContext, variables: Mapping[str, Any]) -> None:
        self._context = context
        self._variables = variables

    def of_selections(
        self, selections: SelectionSetNode, parent: Any, rows: int, within: frozenset[str]
    ) -> int:
        """What the fields cost for each of `rows` objects of the type `parent`, in the fragments `within`."""
        return sum(self._of(node, parent, rows, within) for node in selections.selections)

    def _of(self, node: Node, parent: Any, rows: int, within: frozenset[str]) -> int:
        match node:
            case FieldNode():
                return self._of_field(node, parent, rows, within)
            case InlineFragmentNode():
                return self.of_selections(node.selection_set, self._type(node, parent), rows, within)
            case FragmentSpreadNode() if node.name.value not in within:
                fragment = self._context.get_fragment(node.name.value)
                within |= {node.name.value}
                return self._of_fragment(fragment, rows, within) if fragment else 0
            case _:
                return 0

    def _of_fragment(self, fragment: FragmentDefinitionNode, rows: int, within: frozenset[str]) -> int:
        return self.of_selections(fragment.selection_set, self._type(fragment, None), rows, within)

    def _type(self, node: InlineFragmentNode | FragmentDefinitionNode, parent: Any) -> Any:
        condition = node.type_condition
        return self._context.schema.get_type(condition.name.value) if condition else parent

    def _of_field(self, node: FieldNode, parent: Any, rows: int, within: frozenset[str]) -> int:
        known = isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)
        field = parent.fields.get(node.name.value) if known else None
        if field is None or node.selection_set is None:
            return 0
        price = rows * _price(node)
        rows *= self._limit(node, field)
        return price + rows + self.of_selections(node.selection_set, get_named_type(field.type), rows, within)

    def _limit(self, node: FieldNode, field: GraphQLField) -> int:
        """How many objects the field may answer with. Reports a limit that is not allowed."""
        if _LIMIT not in field.args:
            return 1
        limit = self._given(node, field.args[_LIMIT].default_value)
        if isinstance(limit, int) and not 1 <= limit <= MAX_LIMIT:
            fault = f"{_LIMIT}: must be from 1 to {MAX_LIMIT}, and is {limit} at {node.name.value}"
            self._context.report_error(GraphQLError(fault, node, extensions={"argument": _LIMIT}))
        return limit if isinstance(limit, int) and 1 <= limit <= MAX_LIMIT else MAX_LIMIT

    def _given(self, node: FieldNode, default: Any) -> Any:
        value = next((each.value for each in node.arguments or () if each.name.value == _LIMIT), None)
        match value:
            case IntValueNode():
                return int(value.value)
            case VariableNode():
                return self._variables.get(value.name.value, default)
            case None | NullValueNode():
                return default
            case _:
                return None
