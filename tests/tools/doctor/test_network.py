"""Questions and answers of ``vinom doctor``."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.doctor.network import SHORTEST, answer_to, is_answer, question

NONCE = bytes(range(16))


class QuestionTests(SynchronousTestCase):
    @given(st.binary(min_size=16, max_size=16), st.integers(SHORTEST, 9000))
    def test_answers(self, nonce: bytes, size: int) -> None:
        """
        An answer is known by its nonce, is exactly as long as the question, and is
        itself not answered.
        """
        asked = question(nonce, size)
        told = answer_to(asked)
        assert told is not None
        self.assertEqual((len(asked), len(told)), (size, size))
        self.assertTrue(is_answer(told, nonce, size))
        self.assertFalse(is_answer(told, bytes(16), size) and nonce != bytes(16))
        self.assertIsNone(answer_to(told))

    @given(st.binary(max_size=200))
    def test_anything_else(self, datagram: bytes) -> None:
        """
        Any other datagram isn't answered, and isn't an answer.
        """
        self.assertIsNone(answer_to(datagram))
        self.assertFalse(is_answer(datagram, NONCE, len(datagram)))

    def test_cut(self) -> None:
        """
        Half a question gets nothing; half an answer is none; and a question that could
        not be answered is not written.
        """
        asked = question(NONCE, 100)
        self.assertIsNone(answer_to(asked[: SHORTEST - 1]))
        told = answer_to(asked)
        assert told is not None
        self.assertFalse(is_answer(told[:99], NONCE, 100))
        self.assertRaises(ValueError, question, b"short")
        self.assertRaises(ValueError, question, NONCE, SHORTEST - 1)
