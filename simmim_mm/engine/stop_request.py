"""Signals that ask a training to stop, as Slurm sends them before it takes a machine away."""

import os
import signal
import threading
from types import FrameType, TracebackType

from mmengine.logging import MMLogger

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command is to be run again


class Stopped(SystemExit):
    """The training was asked to stop; the process ends with code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class StopRequest:
    """Takes SIGTERM, SIGUSR1 and Ctrl-C as requests to stop, as long as it is entered.

    Until :meth:`defer` is called, they end the process at once, with :class:`Stopped`, Ctrl-C with
    KeyboardInterrupt: nothing was trained that could be lost. Then they are only noted in
    ``asked``, for ``PreemptionHook``; a second Ctrl-C ends the process at once.

    A signal often goes to all processes of a job. Those forked after :meth:`shield`, which load
    images, do not take it, so that they last until the checkpoint is written. Outside of the main
    thread, where Python takes no signals, nothing is changed.
    """

    asked = False
    _deferred = False

    def defer(self) -> None:
        """From now on, note requests only."""
        self._deferred = True
        self.shield()

    def shield(self) -> None:
        """Let processes that are forked from now on not take the signals.

        Not before: pools of processes, which look at the images, are ended by SIGTERM.
        """
        global _shielding
        _shielding = bool(self._former)

    def __enter__(self) -> 'StopRequest':
        is_main = threading.current_thread() is threading.main_thread()
        numbers = SIGNALS if is_main else ()
        self._former = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        global _shielding
        _shielding = False
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and (self.asked or not self._deferred):
            raise KeyboardInterrupt
        self.asked = True
        if not self._deferred:
            raise Stopped
        name = 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name
        again = ' Press it again to stop at once.' if number == signal.SIGINT else ''
        MMLogger.get_current_instance().info(
            f'{name}: the training stops after this iteration.{again}'
        )


_shielding = False


def _shield() -> None:
    if _shielding:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


os.register_at_fork(after_in_child=_shield)
