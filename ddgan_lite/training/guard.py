"""What guards a run: a lock on its folder, and signals that wait for the end of a step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 6.0  # seconds: processes that load images outlive a killed run by up to five


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has saved. ``signal`` says by which signal.

    Example:
        >>> stopped = Stopped("Stopped after step 21.", signal.SIGTERM)
        >>> str(stopped), 128 + stopped.signal  # the exit status that shells expect
        ('Stopped after step 21.', 143)
    """

    def __init__(self, words: str, signal: int):
        super().__init__(words)
        self.signal = signal


class Stop:
    """Notes Ctrl-C or SIGTERM, so that a step can be finished and saved; a second acts at once.

    Attributes:
        signal: the number of the one that came, else 0.

    Example:
        >>> with Stop() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop.signal == signal.SIGTERM
        True
    """

    def __init__(self):
        self.signal, self._before = 0, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # others may not ask for signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                if signal.getsignal(number) == self._note:  # and not that of a later run
                    signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        self.__exit__()
        os.write(2, b"\nStopping after this step; a second signal stops at once.\n")


@contextlib.contextmanager
def sole(folder: str | os.PathLike) -> Iterator[None]:
    """Let no other run into ``folder`` meanwhile; the system frees it when a process ends or dies.

    Raises:
        BlockingIOError: if another run is there.
        OSError: if the folder cannot be made or written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, sole(folder):
        ...     os.listdir(folder)
        ['.lock']
    """
    from filelock import FileLock, Timeout  # imported when needed, as all that is slow

    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / ".lock", timeout=PATIENCE, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"another run is training in {folder}: wait for its end, stop it, or choose another "
            "folder."
        ) from None
    try:
        yield
    finally:
        lock.release()
