"""What measurements know of the machine."""

from __future__ import annotations

import os
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import machine
from benchmarks.machine import Failed, awake, owner_of_udp


class OwnerTests(SynchronousTestCase):
    """Whose process is measured."""

    def setUp(self) -> None:
        self.bound = socket.socket(type=socket.SOCK_DGRAM)
        self.addCleanup(self.bound.close)
        self.bound.bind(("127.0.0.1", 0))
        self.port = self.bound.getsockname()[1]

    def test_found(self) -> None:
        """
        It is the one that has the port; others may have ended meanwhile.
        """
        gone = 2**22 + 1
        self.assertEqual(owner_of_udp(self.port, [gone, os.getpid()]), os.getpid())

    def test_missed_at_first(self) -> None:
        """
        A measurement does not end because the kernel's table passed over the port
        while others closed theirs.
        """
        found, looks = machine._sockets_at, []

        def missing(port: int) -> set[str]:
            looks.append(port)
            return found(port) if len(looks) > 3 else set()

        self.patch(machine, "_sockets_at", missing)
        self.assertEqual(owner_of_udp(self.port, [os.getpid()]), os.getpid())

    def test_nobody(self) -> None:
        """
        That nobody has it is said at last.
        """
        self.bound.close()
        self.patch(machine, "_LOOKS", 2)
        error = self.assertRaises(Failed, owner_of_udp, self.port, [os.getpid()])
        self.assertIn(str(self.port), str(error))


class AwakeTests(SynchronousTestCase):
    """What keeps a virtual machine's core from being taken away."""

    def test_gives_way(self) -> None:
        """
        It works only while nobody else does, and is gone after the measurement.
        """
        with awake() as pid:
            give_up = time.monotonic() + 60
            while os.sched_getscheduler(pid) != os.SCHED_IDLE:
                self.assertLess(time.monotonic(), give_up, "it takes others' time")
                time.sleep(0.02)
        self.assertRaises(ProcessLookupError, os.sched_getscheduler, pid)
