"""
Filters of system calls, as programs for the kernel's BPF machine.

What is refused fails with EPERM: a game that opens a socket by mistake ends its own
room, with a report that names the line, and not all rooms of its process. An attacker
gains nothing from that: nothing was done. Calls by another machine's convention, in
which the numbers mean something else, kill the process: no honest program makes them.

Source: seccomp(2), and the kernel's tables of system calls.
"""

from __future__ import annotations

import struct
from errno import ENOSYS, EPERM
from functools import lru_cache

import attrs

#: ``AUDIT_ARCH_...`` by machine.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: Numbers of the x32 convention on x86_64 begin here.
_X32 = 0x40000000

_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

Numbers = dict[str, tuple[int, int | None]]

#: Refused to the fork server and to all its children, from the beginning: the number
#: on x86_64 and on aarch64; ``None`` where there is no such call.
NEVER: Numbers = {
    # Programs, and other processes' memory.
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # Owners, rights, times and attributes of files, and reports about them: Landlock
    # has no rights for these, so a name of a hidden file would be enough. One for
    # truncate(2) came with its version 3.
    "truncate": (76, 45),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "inotify_add_watch": (254, 27),
    # The machine.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    # Large parts of the kernel that no game needs; io_uring could also open
    # sockets past a filter.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "personality": (135, 92),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
}

#: Refused in addition once a game server has its sockets.
SETTLED: Numbers = {
    # Memory, queues and semaphores that all processes of a user share.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # Memory that counts for no limit of a process.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # Other processes of the same user: their share of the processor, their memory.
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "prlimit64": (302, 261),
    # New sockets, and new processes; signals.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
}

#: Calls of which then only some commands are refused.
PARTLY: Numbers = {"fcntl": (72, 25), "ioctl": (16, 29)}

NUMBERS: Numbers = NEVER | SETTLED | PARTLY

_CLONE_THREAD = 0x10000
#: Commands of fcntl(2) and ioctl(2) that have signals sent to any process, or type
#: at a terminal: F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP, TIOCSTI and
#: TIOCLINUX.
_FCNTL, _IOCTL = (8, 10, 15), (0x8901, 0x8902, 0x5412, 0x541C)


@attrs.frozen
class Rule:
    """
    What happens to one system call, by one of its arguments.

    :ivar call: its name.
    :ivar code: the error if it is refused.
    :ivar argument: number of the argument that decides; ``None`` refuses always.
    :ivar only: with one of these it is allowed, and refused with others.
    :ivar never: with one of these it is refused, and allowed with others.
    :ivar bits: it is allowed only with one of these bits.
    """

    call: str
    code: int = EPERM
    argument: int | None = None
    only: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    bits: int = 0


def lasting_rules() -> tuple[Rule, ...]:
    """Rules for the fork server and its children: programs, memory, the machine."""
    return tuple(Rule(name) for name in NEVER)


def settled_rules(pid: int) -> tuple[Rule, ...]:
    """
    Rules for a game server that has its sockets: no new socket, no new process.

    :param pid: its own, which it may signal, as abort(3) does.
    """
    special = {
        # The C library takes ENOSYS for an old kernel, and uses clone(2).
        "clone3": Rule("clone3", ENOSYS),
        "clone": Rule("clone", argument=0, bits=_CLONE_THREAD),
        "kill": Rule("kill", argument=0, only=(pid,)),
        "tgkill": Rule("tgkill", argument=0, only=(pid,)),
        "prlimit64": Rule("prlimit64", argument=0, only=(0, pid)),
    }
    return (
        *(special.get(name, Rule(name)) for name in SETTLED),
        Rule("fcntl", argument=1, never=_FCNTL),
        Rule("ioctl", argument=1, never=_IOCTL),
    )


#: Stands for a process in the program that is written before the fork.
_SOMEBODY = 0x7FABCDEF


@lru_cache(maxsize=1)
def _settled_program(machine: str) -> bytes:
    return compile_rules(settled_rules(_SOMEBODY), machine)


def settled_program(machine: str, pid: int) -> bytes:
    """
    Write `settled_rules` as a BPF program; most of it is done by the first call.

    :param machine: as for `compile_rules`.
    :param pid: the game server's own.
    """
    somebody, itself = struct.pack("=I", _SOMEBODY), struct.pack("=I", pid)
    return _settled_program(machine).replace(somebody, itself)


def compile_rules(rules: tuple[Rule, ...], machine: str) -> bytes:
    """
    Write rules as a BPF program.

    :param machine: ``x86_64`` or ``aarch64``.
    """
    column = list(_ARCHITECTURES).index(machine)
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    for rule in rules:
        number = NUMBERS[rule.call][column]
        if number is not None:
            body = _body(rule)
            program += [_step(_EQUAL, number, 0, len(body)), *body]
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def _body(rule: Rule) -> list[bytes]:
    """Write what is done once the number is known to be the rule's; it always ends."""
    allow, refuse = _step(_RETURN, _ALLOW), _step(_RETURN, _ERRNO | rule.code)
    if rule.argument is None:
        return [refuse]
    # The lower half: the kernel uses 32 bits of each of these, and both machines
    # store it first.
    body = [_step(_LOAD, _ARGUMENTS_AT + 8 * rule.argument)]
    if rule.bits:
        return [*body, _step(_HAS_BITS, rule.bits, 0, 1), allow, refuse]
    for value in rule.only:
        body += [_step(_EQUAL, value, 0, 1), allow]
    for value in rule.never:
        body += [_step(_EQUAL, value, 0, 1), refuse]
    return [*body, refuse if rule.only else allow]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Write one instruction: ``struct sock_filter``."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
