"""A Python that starts at once: each of its processes is forked from one that has read torch.

Of a short command most of the time is the import of torch, mmpretrain and mmdet. Here a server has
imported them, and nothing of this package; ``client`` is the part of ``sys.executable``, also for
the programs that a program starts. Working folder, environment, streams and exit status are those
of an ordinary process. Tests of imports, installation and signals take ``sys.executable``.
"""

import array
import atexit
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LIBRARIES = ('torch', 'torchvision', 'mmcv', 'mmengine.runner', 'mmpretrain.models')


def client(address: str, arguments: list[str]) -> int:
    """Have a program run; returns its exit status."""
    request = dict(arguments=arguments, folder=os.getcwd(), environment=dict(os.environ))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f'\0{address}')
        streams = array.array('i', [0, 1, 2])
        connection.sendmsg([b' '], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        connection.sendall(json.dumps(request).encode() + b'\n')
        return int(connection.makefile().readline() or 1)


def serve(executable: str, number: str) -> None:
    """Fork for every client, until the standard input ends; returns in the processes forked."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, reap)
    with socket.socket(fileno=int(number)) as server:
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                return watch(executable, connection)
            connection.close()


def reap(*_) -> None:
    """Wait for what has ended, so that its time counts as this process's, and so as the tests'."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def watch(executable: str, connection: socket.socket) -> None:
    """Tell the client how the program ends, and end it with the client."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    process = os.fork()
    if process == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return run(executable, **request)
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    end = os.pidfd_open(process)
    if connection in select.select([connection, end], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(BrokenPipeError):  # of a client that was killed
        connection.sendall(b'%d\n' % (status if status >= 0 else 128 - status))
    os._exit(0)


def run(executable: str, arguments: list[str], folder: str, environment: dict) -> None:
    """What the interpreter does with a command line: ``[-u] FILE``, ``-m MODULE``, ``-c CODE``."""
    import numpy as np
    import torch

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = executable
    random.seed()
    np.random.seed()
    torch.seed()
    torch.set_num_threads(int(environment.get('OMP_NUM_THREADS') or os.cpu_count() or 1))
    while arguments[0] == '-u':
        del arguments[0]
    kind = arguments.pop(0) if arguments[0] in ('-m', '-c') else 'file'
    program, sys.argv = arguments[0], arguments
    if kind == '-c':
        sys.argv[0] = kind
    paths = [os.path.abspath(p) for p in environment.get('PYTHONPATH', '').split(os.pathsep) if p]
    sys.path[:1] = [str(Path(program).resolve().parent) if kind == 'file' else folder, *paths]
    try:
        if kind == '-m':
            runpy.run_module(program, run_name='__main__', alter_sys=True)
        elif kind == '-c':
            exec(compile(program, '<string>', 'exec'), dict(__name__='__main__'))
        else:
            runpy.run_path(program, run_name='__main__')
    except SystemExit as stop:
        leave(stop.code)
    leave(None)


def leave(code: object) -> None:
    """End as the interpreter does, without taking apart what was imported: it would be copied."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


@contextmanager
def preloaded(folder: Path) -> Iterator[str]:
    """The path of an executable in ``folder`` that stands for Python."""
    executable, address = folder / 'python', f'python-of-{os.getpid()}'
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {address} "$@"\n')
    executable.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f'\0{address}')
        server.listen(64)
        number = server.fileno()
        command = [sys.executable, __file__, '--serve', str(executable), str(number)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[number], start_new_session=True
        )
    with process:  # which closes its standard input at the end
        yield str(executable)


if __name__ == '__main__':
    if sys.argv[1] == '--serve':
        serve(*sys.argv[2:])
    else:
        sys.exit(client(sys.argv[1], sys.argv[2:]))
