"""The keeper: a tiny program between the runner and one child, so that no process outlives whoever asked for it.

Run as `python -I -S keeper.py <control fd>` with the child's stdin, stdout and stderr as its own; never imported by
the runner. Standard library only, few modules: its memory is paid once per child.

Why a process of its own, and not just PDEATHSIG and a process group:

* PDEATHSIG reaches only the direct child. `npx` and `uvx` start the real server as *their* child, and a server may
  start a browser that makes its own session. Killing the process group misses those.
* The keeper is a *child subreaper* (prctl(2) PR_SET_CHILD_SUBREAPER): whatever the child starts and orphans becomes
  the keeper's own child, in whatever session it hides. Killing children until there are none is then complete, and
  safe: the id of our own unreaped child cannot have been given to a stranger.
* The runner holds the other end of the control socket. When the runner dies, however it dies, the kernel closes it
  and the keeper stops everything below it. Nobody has to notice anything.
* When the keeper itself is killed, its child dies by PDEATHSIG and the rest falls to the runner, which is a subreaper
  too and kills what it adopts (see `census`). Only if keeper and runner are killed in the same instant could a
  grandchild be left to init; its stdin has ended then.
* exec of a fresh interpreter instead of `preexec_fn`: the runner has threads, and Python code between fork and exec
  of a threaded process may deadlock.

Control protocol. In: the order (its length, a newline, NUL-ended fields), later one byte `T` = stop. Out: `S<pid>\\n`
once the command runs, or `F<errno>\\n`; at the end `E<wait status>\\n`. End of file on the control socket = stop.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PROCESSES_PER_UID = 8192
_ORPHAN_GRACE = 3.0


class Order:
    """What to run: argv, environment, working directory, limits, seconds between SIGTERM and SIGKILL."""

    def __init__(self, fields: Iterable[bytes]) -> None:
        take = iter(fields)
        self.argv = [next(take) for _ in range(int(next(take)))]
        pairs = [next(take).split(b"=", 1) for _ in range(int(next(take)))]
        self.env = {pair[0]: pair[1] for pair in pairs}
        self.cwd = next(take)
        self.limits = {
            resource.RLIMIT_AS: int(next(take)),
            resource.RLIMIT_NOFILE: int(next(take)),
            resource.RLIMIT_FSIZE: int(next(take)),
            resource.RLIMIT_NPROC: _PROCESSES_PER_UID,
        }
        self.grace = float(next(take))


def read_order(control: int) -> Order:
    """Read the whole order from the control socket; a socket that ends early ends the keeper."""
    data = b""
    while b"\n" not in data:
        data += _receive(control)
    length, _, rest = data.partition(b"\n")
    while len(rest) < int(length):
        rest += _receive(control)
    return Order(rest.split(b"\0"))


def _receive(control: int) -> bytes:
    data = os.read(control, 65536)
    if not data:
        sys.exit(1)
    return data


def prctl(option: int, value: int) -> None:
    """prctl(2), where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def limit(order: Order) -> None:
    """Lower the limits of the calling process; never above what it has. No core dumps: they hold credentials."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, wanted in order.limits.items():
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if wanted > 0:
            resource.setrlimit(kind, (value, value))


def start(order: Order, control: int) -> int:
    """Fork and exec the command. Returns its pid; when it cannot be run, reports the errno and ends the keeper."""
    keeper = os.getpid()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(order, keeper)
        except OSError as error:
            os.write(tell, str(error.errno or 0).encode())
        except BaseException:  # noqa: BLE001 - nothing of the keeper may run on in the forked copy
            os.write(tell, b"22")
        os._exit(127)
    os.close(tell)
    fault = os.read(told, 16)  # empty once exec has closed the other end
    os.close(told)
    if fault:
        os.waitpid(pid, 0)
        report(control, b"F" + fault)
        sys.exit(1)
    return pid


def become(order: Order, keeper: int) -> None:
    """Turn the forked copy into the command: own session and group, limits, no way to gain privileges."""
    os.setsid()
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:  # it died before the signal was armed
        os._exit(127)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    if order.cwd:
        os.chdir(order.cwd)
    limit(order)
    os.execvpe(order.argv[0], order.argv, order.env)  # noqa: S606 - an argv list and no shell is the point


def report(control: int, line: bytes) -> None:
    """Tell the runner, if there still is one."""
    try:
        os.write(control, line + b"\n")
    except OSError:
        return


class Watch:
    """Waits for the command to end, for the order to stop, and for the runner's death; reaps whatever it adopts."""

    def __init__(self, pid: int, control: int, wake: int, grace: float) -> None:
        self.pid, self.control, self.wake, self.grace = pid, control, wake, grace
        self.status: int | None = None
        self.deadline: float | None = None
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.poll.register(wake, select.POLLIN)

    def until_over(self) -> None:
        """Returns when the command has ended, or when its time to end has passed."""
        while self.status is None:
            left = None if self.deadline is None else (self.deadline - time.monotonic()) * 1000
            if left is not None and left <= 0:
                return
            for fd, _ in self.poll.poll(left):
                if fd == self.wake:
                    self.hear_signals()
                else:
                    self.hear_runner()
            self.reap()

    def hear_signals(self) -> None:
        """SIGTERM, SIGINT and SIGHUP to the keeper mean stop; SIGCHLD only wakes us."""
        if any(number != signal.SIGCHLD for number in os.read(self.wake, 512)):
            self.stop(self.grace)

    def hear_runner(self) -> None:
        """An order to stop, or the end of the runner, after which nobody is served by patience."""
        try:
            is_order = bool(os.read(self.control, 16))
        except OSError:
            is_order = False
        self.poll.unregister(self.control)
        self.stop(self.grace if is_order else min(self.grace, _ORPHAN_GRACE))

    def stop(self, grace: float) -> None:
        """SIGTERM to the group, once; the deadline does the rest."""
        if self.deadline is None:
            self.deadline = time.monotonic() + grace
            kill_group(self.pid, signal.SIGTERM)

    def reap(self) -> bool:
        """Take every ended child. False when there are none left at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = status

    def kill_rest(self) -> None:
        """SIGKILL everything below us and reap it, however deep: what a killed parent leaves becomes our child."""
        if self.status is None:
            kill_group(self.pid, signal.SIGKILL)
        pause = 0.001
        while self.reap():
            for pid in children_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            time.sleep(pause)
            pause = min(pause * 2, 0.1)


def kill_group(group: int, number: int) -> None:
    """Signal the command's process group; it may have ended or left already."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def children_of(parent: int) -> list[int]:
    """Process ids whose parent is `parent`, from /proc; none where there is no /proc."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != b"Z":
            found.append(int(name))
    return found


def main(control: int) -> None:
    """Keep one child from its start to its end."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    for fd in (control, wake, waker):
        os.set_inheritable(fd, False)
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    order = read_order(control)
    watch = Watch(start(order, control), control, wake, order.grace)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # the pipes must end when the child ends
        os.dup2(nothing, fd)
    report(control, b"S%d" % watch.pid)
    watch.until_over()
    watch.kill_rest()
    report(control, b"E%d" % (watch.status or 0))


if __name__ == "__main__":
    main(int(sys.argv[1]))
