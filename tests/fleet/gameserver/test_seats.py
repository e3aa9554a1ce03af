"""Who gets a seat: tokens, resume tokens, epochs."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.tokens import Claims
from vinom.errors import Code, Refused
from vinom.fleet.gameserver.seats import SeatDoor


def claims(token_id: str) -> Claims:
    """A verified token."""
    return Claims("game.vinom", "m1", "p1", 0, 100.0, token_id)


class SeatDoorTests(SynchronousTestCase):
    """`SeatDoor`, from a token to the next."""

    def setUp(self) -> None:
        self.door = SeatDoor()
        self.entropy = random.Random(1).randbytes

    def enter(self, token_id: str) -> bytes:
        self.door.enter_by_token(claims(token_id))
        return self.door.offer(self.entropy)

    def test_token_works_until_the_answer_arrived(self) -> None:
        """
        A token may be shown again until its owner has the answer, then never.
        """
        self.enter("a")
        self.enter("a")
        self.door.confirm()
        with self.assertRaises(Refused) as caught:
            self.enter("a")
        self.assertEqual(Code.TOKEN_USED, caught.exception.code)
        self.enter("b")
        self.assertEqual(3, self.door.epoch)

    def test_resume_tokens_take_turns(self) -> None:
        """
        The last resume token works until the next one has arrived.
        """
        first = self.enter("a")
        self.door.confirm()
        self.assertTrue(self.door.is_resumed_by(first))
        self.door.enter_by_resume(first)
        second = self.door.offer(self.entropy)
        self.assertTrue(self.door.is_resumed_by(first))
        self.assertTrue(self.door.is_resumed_by(second))
        self.door.confirm()
        self.assertFalse(self.door.is_resumed_by(first))
        self.assertTrue(self.door.is_resumed_by(second))

    def test_resuming_uses_the_token_up(self) -> None:
        """
        A token is used up once its answer is used to come back, even if the first
        connection never confirmed the answer: a thief cannot use it.
        """
        first = self.enter("a")
        self.door.enter_by_resume(first)
        self.door.offer(self.entropy)
        with self.assertRaises(Refused):
            self.enter("a")
        self.assertTrue(self.door.is_resumed_by(first))

    def test_nothing_opens_a_new_door(self) -> None:
        """
        A seat that nobody had cannot be resumed.
        """
        for guess in (b"", bytes(16), bytes(32)):
            self.assertFalse(self.door.is_resumed_by(guess))

    def test_used_tokens_have_a_bound(self) -> None:
        """
        A player that comes back again and again does not fill the memory.
        """
        for number in range(300):
            self.enter(f"t{number}")
            self.door.confirm()
        with self.assertRaises(Refused):
            self.enter("t299")
        self.assertEqual(256, len(self.door._used))
