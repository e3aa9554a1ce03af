"""A game whose every call is made twice, the second time with a stored state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vinom.errors import Misconfigured
from vinom.game import Game, Step
from vinom.play.states import StateCodec, codec_of, plain, state_hash


class Impure(Exception):
    """One call, made twice, returned two results."""


def _twice(name: str) -> Any:
    def call(self: Twice, *args: Any) -> Any:
        return self.call(name, *args)

    return call


class Twice(Game[Any, Any]):
    """
    Makes every call twice; compares the results, and the state before and after.

    The second call gets the state as it is after it was stored and read. So a game
    that needs anything that is not stored plays differently, and is found.
    """

    def __init__(self, game: Game[Any, Any], not_stored: Callable[[str], None]) -> None:
        """
        Wrap a game.

        :param game: the game.
        :param not_stored: called once with the reason, if its states can't be stored.
        """
        self._game = game
        self._not_stored = not_stored
        #: The state given to the latest call, its hash after that call, and the same
        #: state after it was stored.
        self._given: Any = None
        self._hash = ""
        self._restored: Any = None
        self._codec: StateCodec | None = None
        try:
            self._codec = codec_of(game)
        except Misconfigured as error:
            not_stored(str(error))

    def _take(self, state: Any) -> None:
        """Keep what belongs to a state: calls in a row mostly get the same one."""
        self._hash, self._restored = state_hash(state), state
        self._given = state
        if self._codec is not None:
            try:
                _, self._restored = self._codec.round_trip(state)
            except Misconfigured as error:
                self._codec = None
                self._not_stored(str(error))

    def call(self, name: str, *args: Any) -> Any:
        call = getattr(self._game, name)
        if getattr(type(self._game), name) is getattr(Game, name):
            # A method that the game does not override needs no test.
            return call(*args)
        given, *rest = args
        if name == "start":
            before, again = state_hash(given), given
        else:
            before, again = self.hash_of(given), self._restored
        first, second = _answer(call, args), _answer(call, (again, *rest))
        if state_hash(given) != before:
            raise Impure(f"{name}() changes the state it was given")
        if first[0] != second[0]:
            if again is not given and _answer(call, args)[0] == first[0]:
                raise Impure(
                    f"{name}() returns another result for the same state after it was "
                    f"stored and read; does it compare with `is`?"
                )
            raise Impure(f"{name}() returns another result when it is called again")
        if isinstance(first[1], Exception):
            raise first[1]
        return first[1]

    def hash_of(self, state: Any) -> str:
        """Hash a state; the latest hash is kept."""
        if state is not self._given:
            self._take(state)
        return self._hash

    start = _twice("start")
    act = _twice("act")
    advance = _twice("advance")
    tick = _twice("tick")
    joined = _twice("joined")
    dropped = _twice("dropped")
    returned = _twice("returned")
    left = _twice("left")
    deadline = _twice("deadline")
    outcome = _twice("outcome")
    setup = _twice("setup")
    audience = _twice("audience")
    view = _twice("view")


def _answer(call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    """Make a call; returns a name of its result or error, and the result or error."""
    try:
        result = call(*args)
    except Exception as error:
        return f"{type(error).__qualname__}: {error}", error
    return _trace_of(result), result


def _trace_of(result: Any) -> str:
    if isinstance(result, Step):
        return f"{state_hash(result.state)} {plain(result.events)!r}"
    return state_hash(result)
