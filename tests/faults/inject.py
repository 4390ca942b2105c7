"""`simmim` with something going wrong at a given moment: ``python inject.py VERB ...``.

Nothing of the product knows of it. Python announces to audit hooks what it is about to do with a
file: open, rename, remove it, make a folder. A hook counts these events where they concern the
files of a test, and acts at the one that $FAULT names, before it happens:

- ``{"at": 7, "do": "SIGKILL"}``: the 7th event; any signal, sent to this process;
- ``{"at": 1, "event": "os.rename", "file": "epoch_2", "do": "ENOSPC"}``: the first renaming of a
  file with that in its path; any error of the system, for this event and all later ones that
  write; or ``remove``: the folder ``work`` is removed;
- ``{"after": 2.5, "do": "SIGTERM"}``: so many seconds after the start;
- ``{"file_size": 1000, "do": "SIGKILL"}``: the kernel ends the process within the write that makes
  a file longer than that; with any other ``do``, the write fails, as on a full disk.

``{"fsync": 0.3}`` beside these makes each flush of a file or folder to the disk take that many
seconds, as on a busy network drive; a flush is the event ``os.fsync``, which these come before.

Every event is a line in $FAULT_LOG. Only this process counts, not those that it forks.
"""

import atexit
import errno
import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
import time

EVENTS = ('open', 'os.rename', 'os.remove', 'os.mkdir', 'os.fsync')


def install(fault: dict, folder: str, log: int) -> None:
    """Watch the files below ``folder``; their events go to the descriptor ``log``."""
    this, count = os.getpid(), 0
    number = getattr(signal, fault.get('do', ''), None)
    code = getattr(errno, fault.get('do', ''), None)
    wanted = re.compile(fault.get('file', ''))

    def watch(event: str, args: tuple) -> None:
        nonlocal count
        if event not in EVENTS or os.getpid() != this or not isinstance(args[0], (str, bytes)):
            return
        path = os.path.abspath(os.fsdecode(args[0]))
        if not path.startswith(folder) or path.endswith('.py'):
            return
        if event == 'open' and os.path.isdir(path):  # to flush a renaming
            return
        writes = event != 'open' or args[2] & (os.O_WRONLY | os.O_RDWR)
        writes = writes and (event, code) != ('os.remove', errno.ENOSPC)  # which takes no room
        os.write(log, f'{event} {os.path.relpath(path, folder)}\n'.encode())
        if fault.get('event', event) == event and wanted.search(path):
            count += 1
            if count == fault.get('at') and number:
                os.kill(this, number)
            if count == fault.get('at') and fault['do'] == 'remove':
                shutil.rmtree(os.path.join(folder, 'work'))
        if code and writes and 0 < fault.get('at', 0) <= count:
            raise OSError(code, os.strerror(code), path)

    sys.addaudithook(watch)
    if 'after' in fault:
        timer = threading.Timer(fault['after'], os.kill, (this, number))
        timer.daemon = True
        timer.start()
    flush = os.fsync

    def slow_flush(file: int) -> None:  # Python announces none
        time.sleep(fault.get('fsync', 0))
        watch('os.fsync', (os.readlink(f'/proc/self/fd/{file}'),))
        flush(file)

    os.fsync = slow_flush
    if 'file_size' in fault:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault['file_size'], before[1]))
        atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, before)  # for coverage's file
        deadly = fault.get('do') == 'SIGKILL'
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)


if __name__ == '__main__':
    from simmim_mm.cli import main

    path = os.environ['FAULT_LOG']
    install(
        json.loads(os.environ['FAULT']),
        os.path.join(os.getcwd(), ''),
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    )
    main()
