"""What side-by-side and start-up have in common: tools, processes, filterd with a disk, and fio.

Only Python's standard library. Every process that is started here is ended here.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
FILTERD = ROOT / "filterd" / "bin" / "filterd"
DISK = "bench/disk0"

# The size of sun_path (unix(7)), less its final zero.
SOCKET_PATH_LIMIT_BYTES = 107
STOP_SECONDS = 30
WATCH_SECONDS = 0.5


class Failure(Exception):
    """What went wrong, and what to do, in one line for the user."""


class Interrupted(BaseException):
    """The user, or who started this, wants it to end."""


class _Signals:
    """Turns the signals that end a process into Interrupted, but not between steps that belong together."""

    def __init__(self):
        self.held = False
        self.pending = None

    def install(self):
        """From now on they do."""
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, self._arrived)

    def _arrived(self, signum, _frame):
        if self.held:
            self.pending = signum
        else:
            self._interrupt(signum)

    def _interrupt(self, signum):
        # A second one must not cut the cleaning up short.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signum)

    def __enter__(self):
        self.held = True

    def __exit__(self, *_):
        self.held = False
        if self.pending is not None:
            self._interrupt(self.pending)


_signals = _Signals()
_started = []


def run_script(main):
    """Runs a script's main function; its failures become one line and an exit code."""
    _signals.install()
    name = f"bench/{Path(sys.argv[0]).name}"
    try:
        main()
    except Failure as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        sys.exit(1)
    except OSError as failure:
        print(f"{name}: {failure.filename or 'failed'}: {failure.strerror}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as stop:
        print(f"{name}: stopped", file=sys.stderr)
        sys.exit(128 + stop.args[0])
    finally:
        for process in _started:
            end_group(process)


def start(command, **streams):
    """Starts a process, apart from this one's terminal, so that Ctrl-C comes here only."""
    with _signals:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **streams,
        )
        _started.append(process)
    return process


def say(text):
    """Tells the user what goes on; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


def size_bytes(text):
    """An argument like 2GiB."""
    match = re.fullmatch(r"(\d+)(MiB|GiB)", text)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text} (expected: a size like 512MiB or 2GiB)")
    return int(match[1]) << {"MiB": 20, "GiB": 30}[match[2]]


def size_text(length):
    """The size as the argument it came from."""
    return f"{length >> 30}GiB" if length % (1 << 30) == 0 else f"{length >> 20}MiB"


def size_words(length):
    """The size as people write it."""
    return re.sub(r"(\d)([MG])", r"\1 \2", size_text(length))


def positive(text):
    """An argument that is a whole number above 0."""
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text} (expected: a whole number above 0)")
    return int(text)


def new_file(text):
    """An argument that names a file to write."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} (expected: in a folder that exists)")
    return path


def need(tools):
    """Fails unless every tool is installed; takes (tool, Debian package) pairs."""
    missing = [(tool, package) for tool, package in tools if shutil.which(tool) is None]
    if missing:
        names = ", ".join(tool for tool, _ in missing)
        packages = " ".join(sorted({package for _, package in missing}))
        raise Failure(f"not installed: {names}; try: apt-get install {packages}")


def need_space(folder, length):
    """Fails unless there is so much space in the folder."""
    free = shutil.disk_usage(folder).free
    if free < length:
        raise Failure(
            f"{folder}: {free >> 20} MiB free (expected: {length >> 20});"
            " name another folder with --work, or a smaller --size"
        )


def run(command, watch=None):
    """Runs a command to its end, calling watch() meanwhile; returns its standard output."""
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            out, err = communicate(process, watch)
        except BaseException:
            end_group(process)
            raise
    _started.remove(process)
    if process.returncode != 0:
        words = " ".join([Path(command[0]).name, *map(str, command[1:3])])
        raise Failure(f"{words}: {last_line(err or out)}")
    return out


def communicate(process, watch):
    """What a process printed, once it has ended."""
    while True:
        try:
            return process.communicate(timeout=WATCH_SECONDS if watch else None)
        except subprocess.TimeoutExpired:
            watch()


def end_group(process):
    """Ends a process and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def last_line(text):
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "failed, and said nothing"


class WorkFolder:
    """Where files and sockets are. Removed at the end; of one that the user names, what was made."""

    def __init__(self, named):
        self.named = named
        self.path = None

    def __enter__(self):
        if self.named is None:
            self.path = Path(tempfile.mkdtemp(prefix="filterd-bench-"))
        else:
            parent = self.named.resolve()
            if not parent.is_dir():
                raise Failure(f"--work {self.named}: no such folder; make it first")
            self.path = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def content(self, length):
        """A file of this many random bytes; in a folder that the user names it stays."""
        parent = self.path if self.named is None else self.named.resolve()
        path = parent / f"content-{size_text(length)}.raw"
        if path.exists() and path.stat().st_size == length:
            return path
        say(f"making {size_words(length)} of random content ...")
        part = path.with_suffix(".part")
        try:
            with open(part, "wb") as file:
                for _ in range(length >> 20):
                    file.write(os.urandom(1 << 20))
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return path


class Address:
    """Where a server listens: a Unix socket in a folder, or a free port on loopback."""

    def __init__(self, folder, name, tcp):
        self.port = None
        self.path = None
        if tcp:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        else:
            self.path = folder / f"{name}.sock"
            if len(os.fsencode(self.path)) > SOCKET_PATH_LIMIT_BYTES:
                raise Failure(f"{self.path}: too long for a socket; name a shorter folder with --work")

    def uri(self, export):
        """The NBD URI of an export."""
        if self.port:
            return f"nbd://127.0.0.1:{self.port}/{export}"
        return f"nbd+unix:///{export}?socket={self.path}"

    def connect(self):
        """A connected socket; raises OSError while nobody listens."""
        family = socket.AF_INET if self.port else socket.AF_UNIX
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(STOP_SECONDS)
            connected.connect(("127.0.0.1", self.port) if self.port else str(self.path))
            return connected
        except OSError:
            connected.close()
            raise


class Daemon:
    """A server process; leaving the context ends it."""

    def __init__(self, name, command, address, log):
        self.name = name
        self.command = command
        self.address = address
        self.log = log
        self.process = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = start(self.command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        end_group(self.process)
        _started.remove(self.process)
        if self.address.path:
            self.address.path.unlink(missing_ok=True)

    @property
    def pid(self):
        """Its process."""
        return self.process.pid

    def connect(self):
        """Connects as soon as it listens."""
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                return self.address.connect()
            except OSError as refused:
                if self.process.poll() is not None:
                    raise Failure(f"{self.name}: {last_line(self.log.read_text())}") from refused
                if time.monotonic() > deadline:
                    raise Failure(f"{self.name}: did not listen in {STOP_SECONDS} s") from refused
                time.sleep(0.002)

    def await_listening(self):
        """Returns when it listens."""
        self.connect().close()

    def cpu_seconds(self):
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Filterd:
    """filterd from this checkout with a configuration and keys of its own, and a disk DISK."""

    def __init__(self, folder, tcp=False):
        folder.mkdir()
        self.address = Address(folder, "nbd", tcp)
        self.config = folder / "filterd.yaml"
        self.log = folder / "log"
        self.disk_file = folder / "disks" / f"{DISK}.vmdk"
        listen = f"tcp: 127.0.0.1:{self.address.port}" if tcp else "unix: nbd.sock"
        self.config.write_text(
            f"""\
version: 1
state: .
disks: disks
policies: {json.dumps(str(ROOT / "conf" / "policies"))}
control: {{socket: control.sock}}
nbd:
  listen:
    - {listen}
keys:
  providers:
    native: {{type: native, backup: waived}}
"""
        )
        write_secret(folder / "native.passphrase")

    def command(self, *arguments):
        """Runs a command of filterd's with this configuration."""
        return run([FILTERD, *arguments, "-c", self.config])

    def make_disk(self, content):
        """Makes the disk: encrypted, thin, in units of 4 KiB, with inspection before it."""
        self.command("provider", "init")
        self.command("disk", "import", content, DISK, "--format", "raw", "--policy", "encrypted")

    def serve(self):
        """The daemon, not started yet."""
        return Daemon("filterd", [FILTERD, "serve", "-c", self.config], self.address, self.log)

    def attach(self):
        """Attaches the disk; it stays attached over restarts of the daemon."""
        self.command("disk", "attach", DISK)


def build_filterd():
    """Builds what is older than its source; says what is measured."""
    say("building if need be ...")
    try:
        run([BENCH / "build"])
    except Failure as failure:
        raise Failure(f"{failure}; run bench/build to see why") from failure
    version = run([FILTERD, "version"]).splitlines()[0].strip()
    return f"{version} at {revision()}" if revision() else version


def revision():
    """The commit of this checkout, if it is one."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return ""
    commit = run(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"]).strip()
    sources = ["--", ".", ":!bench/results"]
    changed = run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", *sources])
    return f"{commit} with changes" if changed.strip() else commit


def machine():
    """This machine in words."""
    return run([BENCH / "machine"]).strip()


def write_secret(path):
    """A new passphrase, for its owner only, without a line's end, which some would take for a part."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(os.urandom(24).hex())


def fio_command(uri, seconds, *, mode, block, depth):
    """A run of fio for so many seconds, after one that does not count; prints JSON."""
    return [
        "fio",
        "--name=bench",
        "--ioengine=nbd",
        f"--uri={uri}",
        f"--rw={mode}",
        f"--bs={block}",
        f"--iodepth={depth}",
        "--norandommap",
        "--time_based",
        "--ramp_time=1",
        f"--runtime={seconds}",
        "--output-format=json",
    ]


def fio_job(output):
    """The one job in fio's JSON, which may stand after warnings."""
    start = output.find("{")
    if start < 0:
        raise Failure(f"fio: {last_line(output)}")
    job = json.loads(output[start:])["jobs"][0]
    if job["error"]:
        raise Failure(f"fio: error {job['error']} (expected: 0)")
    return job


def paragraph(text):
    """A paragraph of Markdown, in lines that people can read."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False) + "\n"


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


class ResultFile:
    """A file of bench/results/: words, and between two marks the figures, which a run replaces."""

    BEGIN = "<!-- figures -->\n"
    END = "<!-- end of figures -->\n"

    def __init__(self, text):
        self.path = Path(text)
        self.before = self.after = ""
        if not self.path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text} (expected: in a folder that exists)")
        if self.path.exists():
            self.before, begin, rest = self.path.read_text().partition(self.BEGIN)
            _, end, self.after = rest.partition(self.END)
            if not begin or not end:
                raise argparse.ArgumentTypeError(
                    f"{text} (expected: with lines {self.BEGIN.strip()} and {self.END.strip()})")

    def replace_figures(self, figures):
        """Puts the figures between the marks."""
        self.path.write_text(f"{self.before}{self.BEGIN}\n{figures.strip()}\n\n{self.END}{self.after}")


def write_result(figures, file):
    """Prints the Markdown, or puts it into the file that was named."""
    if file is None:
        print(figures, end="")
    else:
        file.replace_figures(figures)
        say(f"wrote {file.path}")


def add_common_arguments(parser, size):
    """The options that every script here has."""
    parser.add_argument(
        "--size", type=size_bytes, default=size, metavar="SIZE",
        help=f"how much content, like 512MiB or 2GiB (default: {size_text(size)})")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER",
        help="where files are made (default: a new folder in $TMPDIR);"
        " the random content stays there for the next run")
    parser.add_argument(
        "--output", type=ResultFile, metavar="FILE.md",
        help=f"put the Markdown there, between lines {ResultFile.BEGIN.strip()} and"
        f" {ResultFile.END.strip()} if the file is there, instead of printing it")
