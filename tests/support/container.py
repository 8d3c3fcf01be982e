"""The Dockerfile built, and run as a container, without a daemon: layers by overlayfs, isolation by `unshare`.

The base image is stood in for by this machine's system and a Python environment; everything else is what the Dockerfile
says: its RUN commands as they are, and no other files than those it copies. A container has a root that is read-only
but for /tmp and /dev/shm, its program is process 1, and runs as the user that the Dockerfile names, with no capability.
Needs root or a sudo that does not ask.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
BASE = "/opt/base"  # stands for the /usr/local of the base image: a Python with pip
BUILD_SECONDS, STOP_SECONDS = 300, 170

# $1: the lower layers, $2: a folder with upper, work, system and root, $3: ro or rw; then the program. The system goes
# through an overlay of its own, since layers may not be parts of one another.
ENTER = """
mount -t tmpfs tmpfs "$2/system"
mkdir "$2/system/upper" "$2/system/work" "$2/system/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$2/system/upper",workdir="$2/system/work" "$2/system/root"
mount -t overlay overlay -o lowerdir="$1$2/system/root",upperdir="$2/upper",workdir="$2/work" "$2/root"
cd "$2/root"
mount --rbind /dev dev
mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm
mount -t proc proc proc
[ "$3" = rw ] || { mount -t tmpfs -o mode=1777,size=64m tmpfs tmp; mount -o remount,ro .; }
shift 3
exec chroot . "$@"
"""


def as_root(*command: str | Path) -> None:
    """Run a command as root. Raises subprocess.CalledProcessError."""
    subprocess.run([*AS_ROOT, *command], check=True)


def why_not() -> str:
    """What is missing on this machine, "" when nothing is."""
    for program in ("unshare", "setpriv", *AS_ROOT[:1]):
        if not shutil.which(program):
            return f"no {program}"
    probe = subprocess.run([*AS_ROOT, "unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return probe.stderr.strip()


def instructions(dockerfile: Path = ROOT / "Dockerfile") -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, with continued lines joined as Docker joins them."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text("utf-8"), flags=re.M).replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@dataclass
class Image:
    """Layers, the topmost first, and what the Dockerfile says of how to run them."""

    layers: tuple[Path, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def entering(self, scratch: Path, mode: str) -> list[str]:
        """The command line that enters a container of it; what it writes is in `scratch`."""
        for name in ("upper", "work", "system", "root"):
            (scratch / name).mkdir(parents=True, exist_ok=True)
        lower = "".join(f"{layer}:" for layer in self.layers)
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        return [*unshare, "sh", "-euc", ENTER, "enter", lower, str(scratch), mode]

    def run(self, command: str, scratch: Path) -> None:
        """A RUN: as root, on a layer that may be written to."""
        variables = {**{k: v for k, v in os.environ.items() if k.startswith("PIP_")}, **self.environ}
        inside = ["env", "-i", *(f"{k}={v}" for k, v in variables.items()), "sh", "-euc"]
        script = f"cd {shlex.quote(self.folder)}; {command}"
        done = subprocess.run(
            [*AS_ROOT, *self.entering(scratch, "rw"), *inside, script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"RUN {command}\n{done.stdout}{done.stderr}")


class Build:
    """Carries out a Dockerfile, each stage into a layer of its own, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages: dict[str, tuple[Image, Path]] = {}
        self.base = self.make_base()

    def make_base(self) -> Image:
        scratch = self.folder / "base"
        image = Image((scratch / "upper",), {"PATH": f"{BASE}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})
        python = Path(sys._base_executable).resolve()  # not that of an environment, which is none of the image's
        # It may be in somebody's home.
        readable = f"chmod a+x {' '.join(map(str, python.parents))}"
        replace(image, layers=()).run(f"{readable} && {python} -m venv {BASE}", scratch)
        return image

    def last_stage(self) -> Image:
        for word, rest in instructions():
            if word == "FROM":
                parent, _, name = rest.partition(" AS ")
                scratch = self.folder / f"stage{len(self.stages)}"
                (scratch / "upper").mkdir(parents=True)
                below = self.stages[parent][0] if parent in self.stages else self.base
                image = replace(below, layers=(scratch / "upper", *below.layers), environ=dict(below.environ))
                self.stages[name or "last"] = image, scratch
            elif word == "RUN":
                replace(image, layers=image.layers[1:]).run(rest, scratch)
            elif word == "COPY":
                self.copy(rest.split(), image, scratch / "upper")
            elif word == "ENV":
                image.environ |= dict(pair.split("=", 1) for pair in rest.split())
                image.environ["PATH"] = image.environ["PATH"].replace("$PATH", below.environ["PATH"])
            elif word == "WORKDIR":
                image.folder = rest
                as_root("mkdir", "-p", scratch / "upper" / rest.lstrip("/"))
            elif word == "USER":
                image.user = rest
            elif word in ("ENTRYPOINT", "CMD"):
                setattr(image, {"CMD": "command"}.get(word, "entrypoint"), json.loads(rest))
        return image

    def copy(self, arguments: list[str], image: Image, upper: Path) -> None:
        """A COPY, from the project or from another stage."""
        origin = ROOT
        if arguments[0].startswith("--from="):
            stage = self.stages[arguments.pop(0).removeprefix("--from=")][1]
            origin = stage / "upper"
        *sources, target = arguments
        into = upper / os.path.join(image.folder, target).lstrip("/")
        as_root("mkdir", "-p", into)
        for source in (origin / source.lstrip("/") for source in sources):
            what = f"{source}/." if source.is_dir() else source
            as_root("cp", "-a", "--no-preserve=ownership", what, into)
        if origin is ROOT:  # .dockerignore
            as_root("find", into, "-name", "__pycache__", "-prune", "-exec", "rm", "-rf", "{}", "+")


class Container:
    """A container of an image, until `wait`. `namespace` is a named network namespace to run in."""

    def __init__(self, image: Image, scratch: Path, environ: dict[str, str], namespace: str = "") -> None:
        self.image, self.scratch, self.namespace = image, scratch, namespace
        self.environ = {**image.environ, **environ}
        self.log = scratch / "log"
        (scratch / "upper").mkdir(parents=True)

    def put(self, path: str, content: bytes) -> None:
        """A file of a volume: as Kubernetes mounts a Secret, for the group of the user and nobody else."""
        file = self.scratch / "upper" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        as_root("chown", f"0:{self.image.user.partition(':')[2]}", file)
        as_root("chmod", "0440", file)

    def start(self, *arguments: str) -> None:
        """Run the image's entrypoint, with these arguments in place of its own."""
        user, _, group = self.image.user.partition(":")
        rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]
        inside = ["setpriv", "--reuid", user, "--regid", group, *rights]
        inside += ["env", "-i", f"--chdir={self.image.folder}", *(f"{k}={v}" for k, v in self.environ.items())]
        program = [*self.image.entrypoint, *(arguments or self.image.command)]
        network = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*AS_ROOT, *network, *self.image.entering(self.scratch, "ro"), *inside, *program],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def first(self) -> int:
        """The id, out here, of the container's process 1."""
        pid = self.process.pid
        while True:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return pid
            pid = int(children[0])
            if "NSpid" in (status := Path(f"/proc/{pid}/status").read_text()):
                inner = re.search(r"^NSpid:.*?(\d+)$", status, re.M)
                if inner and inner[1] == "1":
                    return pid

    def kill(self, number: signal.Signals) -> None:
        """Signal process 1, as a runtime does."""
        as_root("kill", f"-{number.value}", str(self.first))

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit status, once it has ended. Raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.kill(signal.SIGKILL)
            self.wait(10)

    def until(self, condition, seconds: float = 30) -> None:
        """Wait for something that the container should bring about."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.1)


def remove(folder: Path) -> None:
    """Delete a folder of images and containers: some files there are root's."""
    as_root("rm", "-rf", folder)
