"""Processes that do not outlive the one that started them."""

import ctypes

# Looked up here, for after a fork a library may not load.
_prctl = getattr(ctypes.CDLL(None), 'prctl', None)
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_parent(number: int) -> None:
    """Have Linux send this process a signal as soon as its parent has ended."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, number)
