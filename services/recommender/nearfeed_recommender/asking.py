"""Questions that are asked in a thread of their own, so that nobody need wait for the answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def asked(question: Callable[[], T], name: str) -> Future[T]:
    """The answer to come. It may take for ever, which does not keep the process from ending."""
    answer: Future[T] = Future()
    context = copy_context()
    work = threading.Thread(target=context.run, args=(_answer, question, answer), name=name, daemon=True)
    work.start()
    return answer


def _answer(question: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:
        answer.set_exception(error)
