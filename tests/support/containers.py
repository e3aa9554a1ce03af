"""
Images built by buildah on a base of our own, and containers of them run by runc.

No registry of images is needed, and no engine: the base is Debian's, by debootstrap,
and buildah works as root with the storage driver vfs and chroot isolation.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.support.needs import do_without, needs

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
#: What the base is called in the store of images, instead of one of a registry.
_BASE = "localhost/vinom-test-base"
#: Besides what a test mounts.
_MOUNTS: tuple[dict[str, Any], ...] = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    {
        "destination": "/sys",
        "type": "bind",
        "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    },
)


def run(*command: str | Path, seconds: float = 600, **options: Any) -> str:
    """
    Run a program to its end.

    :returns: what it printed.
    :raises AssertionError: it failed; has what it printed.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
        **options,
    )
    if done.returncode:
        words = shlex.join(str(one) for one in command)
        raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def _mirror() -> list[str]:
    """Find where this machine has Debian's packages from."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    return [one for one in found if one.rstrip("/").endswith("/debian")][:1]


def _codename() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise AssertionError("/etc/os-release has no VERSION_CODENAME")


class Images:
    """
    A store of images in a folder of its own.

    :ivar folder: everything is in it.
    """

    def __init__(self) -> None:
        needs("buildah", "debootstrap", "runc")
        if os.geteuid():
            do_without("images are built as root only")
        self.folder = Path(tempfile.mkdtemp(prefix="vinom-images-"))
        self._mounted: list[str] = []

    def buildah(self, *arguments: str | Path) -> str:
        """Run buildah."""
        return run(
            "buildah",
            *("--storage-driver", "vfs"),
            *("--root", self.folder / "store", "--runroot", self.folder / "run"),
            *arguments,
            seconds=1200,
        )

    def make_base(self) -> None:
        """Make what stands for the image of Python: Debian with its Python."""
        tree = self.folder / "base"
        run(
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            _codename(),
            tree,
            *_mirror(),
            seconds=1200,
        )
        shutil.rmtree(tree / "var" / "cache" / "apt", ignore_errors=True)
        shutil.rmtree(tree / "var" / "lib" / "apt" / "lists", ignore_errors=True)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, tree, "/")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.buildah("config", "--env", f"PATH={path}", container)
        self.buildah("commit", "--quiet", container, _BASE)
        self.buildah("rm", container)
        shutil.rmtree(tree)

    def _pip_config(self) -> Path:
        """Write how pip is set up here, for the pip of the build."""
        wanted = ("cert", "index-url", "proxy", "trusted-host")
        options = {}
        for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
            name, _, value = line.partition("=")
            if (key := name.rpartition(".")[2]) in wanted:
                options[key] = value.strip("'\"")
        lines = ["[global]", *(f"{key} = {value}" for key, value in options.items())]
        path = self.folder / "pip.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _authorities(self) -> list[str]:
        """Whom this machine trusts, the build trusts: a proxy's authority, perhaps."""
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        return ["--volume", f"{bundle}:{bundle}:ro"] if Path(bundle).exists() else []

    def build(self, target: str) -> str:
        """
        Build a stage of the Containerfile.

        :returns: the image's name.
        """
        name = f"localhost/vinom-{target}"
        self.buildah(
            "build",
            # Without layers: with vfs each is a copy of the whole.
            *("--isolation", "chroot", "--format", "docker", "--layers=false"),
            *("--pull-never", "--quiet", "--build-arg", f"BASE={_BASE}"),
            *("--secret", f"id=pip,src={self._pip_config()}"),
            *self._authorities(),
            *("-f", CONTAINERFILE, "--target", target, "-t", name),
            ROOT,
        )
        return name

    def open(self, image: str) -> Image:
        """Lay an image out as a folder, and read how it is to be run."""
        container = self.buildah("from", "--pull-never", image).strip()
        self._mounted.append(container)
        tree = Path(self.buildah("mount", container).strip())
        inspected = json.loads(self.buildah("inspect", "--type", "image", image))
        config = inspected["Docker"]["config"]
        return Image(self.folder, tree, config)

    def close(self) -> None:
        """Remove everything."""
        for container in self._mounted:
            self.buildah("umount", container)
            self.buildah("rm", container)
        shutil.rmtree(self.folder, ignore_errors=True)


@attrs.frozen
class Image:
    """
    An image that is laid out.

    :ivar folder: where its containers have their files.
    :ivar tree: its root file system.
    :ivar config: as Docker calls its members: User, Env, Entrypoint, Cmd, Healthcheck.
    """

    folder: Path
    tree: Path
    config: dict[str, Any]

    @property
    def user(self) -> tuple[int, int]:
        """The ids of user and group that it runs as."""
        user, _, group = self.config["User"].partition(":")
        return int(user), int(group)

    @property
    def health(self) -> list[str]:
        """The command that checks its health; empty if it has none."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind in ("CMD", "NONE"), kind
        return [str(word) for word in command]


class HostNetwork:
    """
    A network of its own, with a loopback: what a machine is to containers that have
    its network.
    """

    def __init__(self) -> None:
        needs("ip")
        self._holder = subprocess.Popen(
            [
                "unshare",
                "--net",
                "sh",
                "-c",
                "ip link set lo up; echo; exec sleep 3600",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.path = f"/proc/{self._holder.pid}/ns/net"

    def command(self, *command: str | Path) -> list[str]:
        """A command that runs in it."""
        return ["nsenter", f"--net={self.path}", *map(str, command)]

    def close(self) -> None:
        """End it."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Container:
    """
    A container, by runc: not root, nothing may be written but volumes and /tmp.

    :ivar log: what it printed.
    """

    def __init__(
        self,
        image: Image,
        *,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[tuple[Path, str, bool]] = (),
        network: str | None = None,
        system_calls: Collection[str] = (),
        entry: Sequence[str] | None = None,
    ) -> None:
        """
        Start it.

        :param image: of which.
        :param command: instead of the image's.
        :param environment: more variables than the image's.
        :param mounts: folders or files of this machine, where they are in the
            container, and whether they may be written.
        :param network: path of the namespace; one of its own unless given.
        :param system_calls: those that it may use; all unless given.
        :param entry: before the command, instead of the image's.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="container-", dir=image.folder))
        self._name = f"vinom-test-{os.getpid()}-{self._folder.name}"
        variables = dict(one.split("=", 1) for one in image.config["Env"])
        variables |= environment or {}
        arguments = list(image.config["Entrypoint"] if entry is None else entry)
        arguments += command or image.config["Cmd"]
        user, group = image.user
        spec = {
            "ociVersion": "1.0.2",
            "hostname": "vinom",
            "process": {
                "args": arguments,
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": image.config.get("WorkingDir") or "/",
                "user": {"uid": user, "gid": group},
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "root": {"path": str(image.tree), "readonly": True},
            "mounts": [
                *_MOUNTS,
                {
                    "destination": "/tmp",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["nosuid", "nodev", "mode=1777"],
                },
                *(
                    {
                        "destination": place,
                        "type": "bind",
                        "source": str(path),
                        "options": ["rbind", "rw" if is_open else "ro"],
                    }
                    for path, place, is_open in mounts
                ),
            ],
            "linux": {
                "namespaces": [
                    *({"type": kind} for kind in ("pid", "mount", "ipc", "uts")),
                    {"type": "network", **({"path": network} if network else {})},
                ],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            },
        }
        if system_calls:
            spec["linux"]["seccomp"] = {  # type: ignore[index]
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 1,
                "syscalls": [
                    {"names": sorted(system_calls), "action": "SCMP_ACT_ALLOW"}
                ],
            }
        (self._folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        self._output = (self._folder / "output").open("wb")
        self._process = subprocess.Popen(
            ["runc", "run", "--bundle", self._folder, self._name],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.health = image.health

    @property
    def log(self) -> str:
        """What it printed so far."""
        return (self._folder / "output").read_text(encoding="utf-8", errors="replace")

    def execute(self, *command: str, seconds: float = 60) -> str:
        """Run a command in it; see `run`."""
        return run("runc", "exec", self._name, *command, seconds=seconds)

    def wait_healthy(self, seconds: float = 60) -> None:
        """
        Ask its own health check until it is well.

        :raises AssertionError: it ended, or is not well in time; has its log.
        """
        assert self.health
        until, why = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise AssertionError(
                    f"it ended: {self._process.returncode}\n{self.log}"
                )
            try:
                self.execute(*self.health, seconds=20)
                return
            except (AssertionError, subprocess.TimeoutExpired) as error:
                why = str(error)
                time.sleep(0.2)
        raise AssertionError(f"it is not healthy: {why}\n{self.log}")

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself; returns its exit code."""
        return self._process.wait(seconds)

    def stop(self, seconds: float = 30) -> int:
        """
        Send SIGTERM, and wait until it ends.

        :returns: its exit code; -9 if it had to be killed.
        """
        self._kill("TERM")
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill("KILL")
            self._process.wait(10)
            return -signal.SIGKILL

    def close(self) -> None:
        """Kill it if it still runs, and forget it."""
        if self._process.poll() is None:
            self._kill("KILL")
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        subprocess.run(
            ["runc", "delete", "--force", self._name], capture_output=True, check=False
        )
        self._output.close()

    def _kill(self, name: str) -> None:
        subprocess.run(
            ["runc", "kill", self._name, name], capture_output=True, check=False
        )
