"""A game that tries everything that its process should not be able to do."""

from __future__ import annotations

import ctypes
import glob
import os
import platform
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from vinom.game import Game, Step, Table

_NUMBERS = {
    "x86_64": {"ptrace": 101, "mount": 165, "bpf": 321, "io_uring_setup": 425},
    "aarch64": {"ptrace": 117, "mount": 40, "bpf": 280, "io_uring_setup": 425},
}
_VM_READ = {"x86_64": 310, "aarch64": 270}
_library = ctypes.CDLL(None, use_errno=True)


class Rob(Struct, frozen=True, tag="rob"):
    """
    Try everything.

    :ivar state: the node's state directory.
    :ivar node: the node's process.
    :ivar sibling: another game server's process; 0 if there is none.
    :ivar port: of the lobby.
    :ivar data: a file that games may read.
    :ivar only: names of what to try; empty for everything.
    """

    state: str
    node: int
    sibling: int
    port: int
    data: str
    only: tuple[str, ...] = ()


class Break(Struct, frozen=True, tag="break"):
    """Fail, so that there is a crash report."""


class Loot(Struct, frozen=True):
    """What was tried, and what came of it."""

    found: tuple[tuple[str, str], ...] = ()


class Burglar(Game[Loot, Rob | Break]):
    """Played in a process of its own by one player."""

    name = "burglar"
    actions = Rob | Break
    seats = (1, 1)

    def start(self, table: Table) -> Loot:
        return Loot()

    def act(
        self, s: Loot, seat: int, action: Rob | Break, now: float
    ) -> Loot | Step[Loot]:
        if isinstance(action, Break):
            raise ZeroDivisionError("broken on purpose")
        return Loot(
            tuple(
                (name, _outcome(call))
                for name, call in attempts(action)
                if not action.only or name in action.only
            )
        )

    def view(self, s: Loot, audience: Hashable) -> dict[str, str]:
        return dict(s.found)


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def _system_call(number: int, *arguments: Any) -> None:
    if _library.syscall(ctypes.c_long(number), *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _open(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _look_into(process: int) -> None:
    """Read 8 bytes of another process's code by process_vm_readv(2)."""
    buffer = ctypes.create_string_buffer(8)
    address = ctypes.addressof(
        ctypes.c_char.in_dll(ctypes.pythonapi, "Py_IsInitialized")
    )
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(address, 8)
    number = _VM_READ[platform.machine()]
    _system_call(
        number, process, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), 0
    )


def _watch(path: Path) -> None:
    """Have the kernel report what happens in a folder (IN_OPEN), by inotify(7)."""
    watching = _library.inotify_init()
    try:
        if _library.inotify_add_watch(watching, bytes(path), 0x20) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(watching)


def _connect(path: str) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.connect(path)


def _ask(state: Path) -> None:
    """Ask the node for its status, with the token."""
    token = (state / "admin.token").read_text().strip()
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.connect(str(state / "admin.sock"))
        request = f"GET /v1/status HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n"
        line.sendall(request.encode())
        if b" 200 " not in line.recv(64):
            raise ConnectionError("no answer")


def _connect_tcp(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), 2)):
        pass


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _run_thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def attempts(what: Rob) -> Iterator[tuple[str, Callable[[], Any]]]:
    """List what is tried; names that begin with "may" are to succeed."""
    state, node, parent = Path(what.state), what.node, os.getppid()
    for path in ("authority/ca.key", "authority/ca.pem", "admin.token"):
        yield f"read {path}", (state / path).read_bytes
    yield (
        "read token keys",
        lambda: (
            [
                Path(one).read_bytes()
                for one in glob.glob(f"{state}/**/*key*", recursive=True)
            ]
            or os.listdir(state / "authority")
        ),
    )
    yield "list recordings", lambda: os.listdir(state / "recordings")
    yield "write state", lambda: (state / "planted").write_text("x")
    key = state / "authority" / "ca.key"
    yield "show others the key", lambda: key.chmod(0o644)
    yield "lock the node out", lambda: state.chmod(0o700)
    yield "give the key away", lambda: os.chown(key, os.getuid(), -1)
    yield "make the key look old", lambda: os.utime(key, (1, 1))
    yield "mark the key", lambda: os.setxattr(key, "user.burglar", b"x")
    yield "empty the key", lambda: os.truncate(key, 0)
    yield "watch the state", lambda: _watch(state)
    yield "write code", lambda: open(__file__, "a").close()
    yield "write /tmp", lambda: open(f"/tmp/vinom-burglar-{os.getpid()}", "w").close()
    yield "read /etc/passwd", Path("/etc/passwd").read_bytes
    for name, process in (
        ("node", node),
        ("parent", parent),
        ("sibling", what.sibling),
    ):
        if not process:
            continue
        yield f"open memory of {name}", lambda p=process: _open(f"/proc/{p}/mem")
        yield f"environment of {name}", Path(f"/proc/{process}/environ").read_bytes
        yield f"files of {name}", lambda p=process: os.listdir(f"/proc/{p}/fd")
        yield f"read memory of {name}", lambda p=process: _look_into(p)
        yield f"signal {name}", lambda p=process: os.kill(p, 0)
        yield f"pidfd of {name}", lambda p=process: os.close(os.pidfd_open(p))
        yield (
            f"limit {name}",
            lambda p=process: resource.prlimit(p, resource.RLIMIT_CORE, (0, 0)),
        )
        yield f"renice {name}", lambda p=process: os.setpriority(os.PRIO_PROCESS, p, 1)
        yield (
            f"trace {name}",
            lambda p=process: _system_call(
                _NUMBERS[platform.machine()]["ptrace"], 0x4206, p, None, None
            ),
        )
    yield "admin socket", lambda: _connect(str(state / "admin.sock"))
    yield "admin API", lambda: _ask(state)
    yield "control socket", lambda: _connect(str(state / "control.sock"))
    yield "TCP", lambda: _connect_tcp(what.port)
    yield "UDP socket", lambda: socket.socket(type=socket.SOCK_DGRAM).close()
    yield "pair of sockets", lambda: [one.close() for one in socket.socketpair()]
    yield "run a program", lambda: subprocess.run(["/bin/true"], check=True)
    yield "run a shell", lambda: subprocess.run("true", shell=True, check=True)
    yield "become a program", lambda: os.execv("/bin/false", ["false"])
    yield "fork", _fork
    # Memory that no limit of a process counts.
    yield "memory file", lambda: os.close(os.memfd_create("more"))
    yield "secret memory", lambda: _system_call(447, 0)
    for name in ("mount", "bpf", "io_uring_setup"):
        number = _NUMBERS[platform.machine()][name]
        yield name, lambda n=number: _system_call(n, None, None, None, None, None)
    yield "may read its data", Path(what.data).read_bytes
    yield "may read its code", Path(__file__).read_bytes
    yield "may use time zones", lambda: ZoneInfo("Europe/Berlin")
    yield "may import a module", lambda: __import__("calendar")
    yield "may start a thread", _run_thread
    yield "may draw random bytes", lambda: _open("/dev/urandom")
    yield "may raise a signal for itself", lambda: os.kill(os.getpid(), 0)
    yield "may ask for its limits", lambda: resource.getrlimit(resource.RLIMIT_AS)
    yield "may print", lambda: print("here I am", file=sys.stderr)
