"""Steps of a store that must be taken, however long it does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.errors import LeaseLost, NothingStored, StoreUnavailable

_log = Logger()

#: Between two tries.
RETRY_SECONDS = 1.0

_Result = TypeVar("_Result")


async def patiently(
    clock: Any,
    step: Callable[[], Awaitable[_Result]],
    is_wanted: Callable[[], bool] = lambda: True,
    refusals: tuple[type[StoreUnavailable], ...] = (),
) -> _Result | None:
    """
    Take a step as often as the store needs to answer.

    :param step: has one effect, however often it is taken: a try without an answer may
        have had it.
    :param is_wanted: asked before each try.
    :param refusals: errors that are no reason to try again, and are raised.
    :returns: what the step does; ``None`` when it is not wanted any more.
    """
    while is_wanted():
        try:
            return await step()
        except refusals:
            raise
        except StoreUnavailable as error:
            _log.debug("storage does not answer: {error}", error=error)
            await deferLater(clock, RETRY_SECONDS)
    return None


def if_unsure(failure: Failure, act: Callable[[], object]) -> Failure:
    """
    Note that a step failed whose answer may be lost: its errback.

    :param act: called if the step may have had its effect.
    """
    is_unsure = failure.check(StoreUnavailable) is not None
    if is_unsure and failure.check(NothingStored, LeaseLost) is None:
        act()
    return failure
