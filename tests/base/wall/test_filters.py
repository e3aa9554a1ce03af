"""What the kernel will say to system calls, by a small BPF machine."""

from __future__ import annotations

import struct
from errno import ENOSYS, EPERM

from twisted.trial.unittest import SynchronousTestCase

from vinom.base.wall.filters import (
    NEVER,
    NUMBERS,
    SETTLED,
    compile_rules,
    lasting_rules,
    settled_program,
)

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
REFUSE = ERRNO | EPERM
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4711


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run a program as the kernel does, which takes 64 bits for each argument."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = held = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            is_so = {
                0x15: held == value,
                0x35: held >= value,
                0x45: bool(held & value),
            }[code]
            at += if_true if is_so else if_false


def written(stage: str, machine: str) -> bytes:
    """Write the program of a stage."""
    if stage == "lasting":
        return compile_rules(lasting_rules(), machine)
    return settled_program(machine, PID)


class FilterTests(SynchronousTestCase):
    def ask(self, stage: str, machine: str, call: str | int, *arguments: int) -> int:
        number = call
        if isinstance(call, str):
            number = NUMBERS[call][list(MACHINES).index(machine)]
        return answer(written(stage, machine), MACHINES[machine], number, *arguments)

    def test_programs_and_memory(self) -> None:
        """
        From the beginning nobody behind the wall runs programs, or reads the memory of
        others; forking and everything else goes on.
        """
        for machine in MACHINES:
            for call in NEVER:
                if NUMBERS[call][list(MACHINES).index(machine)] is not None:
                    self.assertEqual(REFUSE, self.ask("lasting", machine, call), call)
            for call in (*SETTLED, "fcntl", "ioctl", 0, 1, 5000):
                if call not in ("fork", "vfork", "iopl"):
                    self.assertEqual(ALLOW, self.ask("lasting", machine, call), call)

    def test_sockets_and_processes(self) -> None:
        """
        With its port a game server opens no socket and starts no process; it may start
        threads, and raise signals for itself, as abort() does.
        """
        for machine in MACHINES:

            def ask(call: str | int, *arguments: int, machine: str = machine) -> int:
                return self.ask("settled", machine, call, *arguments)

            partly = {"clone3", "clone", "kill", "tgkill", "prlimit64", "fork", "vfork"}
            for call in set(SETTLED) - partly:
                self.assertEqual(REFUSE, ask(call, 0, 0, 0), call)
            self.assertEqual(ERRNO | ENOSYS, ask("clone3", 0x10000))
            self.assertEqual(ALLOW, ask("clone", 0x3D0F00))
            self.assertEqual(REFUSE, ask("clone", 0x1200011))
            for call in ("kill", "tgkill"):
                self.assertEqual(ALLOW, ask(call, PID, 6))
                for other in (1, 0, PID + 1, 2**32 - 1):
                    self.assertEqual(REFUSE, ask(call, other, 6))
            self.assertEqual(ALLOW, ask("prlimit64", 0, 7))
            self.assertEqual(REFUSE, ask("prlimit64", 1, 7))
            self.assertEqual(REFUSE, ask("fcntl", 3, 8, 1))
            self.assertEqual(ALLOW, ask("fcntl", 3, 4, 2048))
            self.assertEqual(REFUSE, ask("ioctl", 3, 0x5412))
            self.assertEqual(ALLOW, ask("ioctl", 3, 0x541B))
            self.assertEqual(ALLOW, ask(0))

    def test_other_conventions(self) -> None:
        """
        Calls by another machine's numbers end the process: they mean something else.
        """
        for stage in ("lasting", "settled"):
            for machine, other in (("x86_64", "aarch64"), ("aarch64", "x86_64")):
                program = written(stage, machine)
                self.assertEqual(KILL, answer(program, MACHINES[other], 0))
                self.assertEqual(KILL, answer(program, 0x40000003, 11))
            # x32: the numbers of x86_64 and a bit.
            self.assertEqual(KILL, self.ask(stage, "x86_64", 0x40000000 | 59))

    def test_numbers_are_the_kernels(self) -> None:
        """
        Our numbers are those of this machine's header, where it is installed.
        """
        from pathlib import Path

        header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
        if not header.exists():
            self.skipTest("no header of the kernel")
        known = {
            words[1].removeprefix("__NR_"): int(words[2])
            for words in map(str.split, header.read_text().splitlines())
            if len(words) == 3 and words[1].startswith("__NR_")
        }
        # An older header lacks the newest calls.
        ours = {name: pair[0] for name, pair in NUMBERS.items() if name in known}
        self.assertGreater(len(ours), 100)
        self.assertEqual(ours, {name: known[name] for name in ours})
