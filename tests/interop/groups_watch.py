"""`milena groups watch` on a terminal: it draws, draws again in place when the group changes, fits a terminal that is made smaller,
and leaves the terminal as it was on Ctrl-C. Arguments: milena, an address, a group with members. Prints "ok" or "not ok" lines."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

MILENA, ADDRESS, GROUP = sys.argv[1:]
WAIT = 30


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """A terminal with the command in it, and all that it wrote."""

    def __init__(self, *words):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(MILENA, [MILENA, *words, "--bootstrap", ADDRESS])
        set_size(self.fd, 40, 120)

    def read_until(self, condition, what):
        end = time.monotonic() + WAIT
        while not condition(self.text):
            assert time.monotonic() < end, f"no {what} within {WAIT} s: {self.text[-2000:]!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # it ended
                    assert condition(self.text), f"it ended without {what}: {self.text[-2000:]!r}"

    def end(self, number):
        os.kill(self.pid, number)
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    pass
        raise AssertionError("it did not end")


def screens(text):
    """What was drawn, look by look: each begins at the cursor's home."""
    return text.split("\x1b[H")


def check(name, function):
    try:
        function()
        print(f"ok groups watch: {name}", flush=True)
    except Exception as error:
        print(f"not ok groups watch: {name}\n   {error!r}", flush=True)


terminal = Terminal("groups", "watch", GROUP, "--interval", "0.2")


def draws():
    terminal.read_until(lambda text: GROUP in text and "MEMBER" in text, "head and table")


def draws_again():
    seen = len(screens(terminal.text))
    terminal.read_until(lambda text: len(screens(text)) > seen + 2 and GROUP in screens(text)[-1], "second drawing")


def fits():
    set_size(terminal.fd, 12, 60)
    os.kill(terminal.pid, signal.SIGWINCH)
    begin = len(screens(terminal.text)) + 2
    terminal.read_until(lambda text: len(screens(text)) > begin + 2, "smaller drawing")
    for screen in screens(terminal.text)[begin:-1]:
        lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in screen.replace("\r", "").split("\n")]
        # A line that is longer than the terminal takes several of its rows; the cursor is on the last, too.
        assert sum(max(1, -(-len(line) // 60)) for line in lines) <= 12, lines


def ends():
    code = terminal.end(signal.SIGINT)
    assert code == 0, code  # as with consume --follow
    hidden, shown = terminal.text.rfind("\x1b[?25l"), terminal.text.rfind("\x1b[?25h")
    assert shown >= hidden, "the cursor stays hidden"


check("it draws members and partitions", draws)
check("it draws again in place", draws_again)
check("what it draws fits a smaller terminal", fits)
check("Ctrl-C ends it, and the terminal is as it was", ends)
