"""Faults of arguments, as GraphQL errors tell them."""

from nearfeed_contracts.errors import NearfeedError


class ArgumentError(NearfeedError):
    """An argument that cannot be answered; the text begins with its name.

    GraphQL copies `extensions` into the error that the client gets.
    """

    def __init__(self, argument: str, fault: str) -> None:
        super().__init__(f"{argument}: {fault}")
        self.extensions = {"argument": argument}
