"""Faults by chance for hours, and the resources of a long run: ``make soak``.

    python tests/faults/soak.py --minutes 60
    python tests/faults/soak.py --kills 100 --only train

Every round takes one of the commands, ends it at random moments (before the n-th event of a file,
or after a random time; by SIGKILL, SIGTERM or Ctrl-C) until it has come through, and compares what
it has written with that of an uninterrupted run. ``--watch`` measures the memory, open files,
threads and shared memory of one long pretraining before that. It ends with code 1 at the first
difference, and keeps the folder.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1]))
from harness import COMMANDS, DEAD, PRETRAINING, ROOT, make_project, run, same
from preloaded_python import preloaded

# By SIGTERM and Ctrl-C where a command takes them as Python does; as a training that was asked to.
ENDED = (*DEAD, -15, 143, -2, 130, 75)
# A second Ctrl-C, or one before the training; a limit that ended a training of several.
INTERRUPTED = re.compile('^interrupted|trainings failed; run it again', re.MULTILINE)


def kill_until_done(
    python: str, folder: Path, command: tuple, whole: list[str], dice: random.Random
) -> Counter[str]:
    """Run a command again and again, ended each time; returns how often by which signal."""
    kills: Counter[str] = Counter()
    for _ in range(1000):
        how, name = dice.random(), dice.choice(['SIGKILL', 'SIGTERM', 'SIGINT'])
        if how < 0.5:
            end = run(python, folder, *command, at=dice.randint(1, len(whole)), do=name)
        elif how < 0.6:
            name = 'SIGKILL'  # within a write
            size = dice.choice([2000, 9000, 40_000, 90_000])
            end = run(python, folder, *command, file_size=size, do=name)
        else:
            end = run(python, folder, *command, after=dice.uniform(0.5, 8.0), do=name)
        if end.code == 0 or 'exists: give another name' in end.output:  # ended by itself
            return kills
        if 'is in use by' in end.output:  # a training of a killed sweep ends by itself
            time.sleep(1)
        elif end.code in ENDED or INTERRUPTED.search(end.output):
            if 'Traceback' in end.output:
                raise RuntimeError(f'{command} ended with a traceback:\n{end.output[-3000:]}')
            kills[name] += 1
        else:
            raise RuntimeError(f'{command} ended with {end.code}:\n{end.output[-3000:]}')
    raise RuntimeError(f'{command} makes no progress')


def with_children(pid: int) -> list[int]:
    """A process and all that it has started, while they run."""
    lists = Path(f'/proc/{pid}/task').glob('*/children')
    return [pid, *(x for path in lists for child in path.read_text().split()
                   for x in with_children(int(child)))]  # fmt: skip


def resources(pid: int) -> tuple[float, int, int, float, int, int]:
    """Of a process: MB of its own, open files, threads; with its workers: MB shared, processes.

    Last the names in ``/dev/shm``, of the whole machine. Pages of files, such as libraries, are
    left out: they come and go with what else the machine does.
    """
    tree = []
    for process in with_children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # a worker that has just ended
            status = Path(f'/proc/{process}/status').read_text()
            tree.append(dict(re.findall(r'(\w+):\s+(\d+)', status)))
    shared = sum(int(status.get('RssShmem', 0)) for status in tree) / 1024
    files = len(os.listdir(f'/proc/{pid}/fd'))
    return (int(tree[0]['RssAnon']) / 1024, files, int(tree[0]['Threads']), shared, len(tree),
            len(os.listdir('/dev/shm')))  # fmt: skip


def watch(python: str, folder: Path, minutes: float) -> None:
    """Print what a pretraining of that many minutes holds: a row of medians for each twelfth."""
    command = [sys.executable, '-m', 'simmim_mm.cli', *PRETRAINING[:-1], '--epochs', '1000000']
    command += ['--cfg-options', 'train_dataloader.num_workers=2', 'train_cfg.val_interval=20']
    command += ['default_hooks.checkpoint.interval=20']
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    names = ('MB', 'open files', 'threads', 'MB shared', 'processes', 'in /dev/shm')
    print('| minute | epoch | ' + ' | '.join(names) + ' |', flush=True)
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        last = folder / 'work/last_checkpoint'
        while process.poll() is None and not last.exists():
            time.sleep(1)
        begin = time.monotonic()
        for row in range(12):
            samples = []
            while process.poll() is None and time.monotonic() < begin + 5 * (row + 1) * minutes:
                time.sleep(min(1.0, minutes / 2))
                samples.append(resources(process.pid))
            if process.poll() is not None:
                break
            medians = ' | '.join(f'{median(values):.1f}' for values in zip(*samples))
            minute = (time.monotonic() - begin) / 60
            print(
                f'| {minute:.0f} | {last.read_text().split("_")[-1][:-4]} | {medians} |', flush=True
            )
        process.terminate()
    if process.returncode != 75:
        sys.exit(f'the watched training ended with {process.returncode}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--minutes', type=float, default=60, help='of faults')
    parser.add_argument('--kills', type=int, help='of each command, instead of --minutes')
    parser.add_argument('--only', choices=COMMANDS, nargs='+', default=list(COMMANDS))
    parser.add_argument('--seed', type=int, default=0)
    text = 'first, train every method with every number of workers and start method'
    parser.add_argument('--bits', action='store_true', help=text)
    text = 'first, train for so long, and print what that holds'
    parser.add_argument('--watch', type=float, default=0, metavar='MINUTES', help=text)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    if args.bits:
        subprocess.run([sys.executable, Path(__file__).with_name('same_bits.py')], check=True)
    root = Path(tempfile.mkdtemp(prefix='soak'))
    kills = {name: Counter() for name in args.only}
    with preloaded(root) as python:
        if args.watch:
            watch(python, make_project(root / 'watched'), args.watch)
        start, whole = time.monotonic(), {}
        for number in range(10**9):
            if args.kills and min(map(Counter.total, kills.values())) >= args.kills:
                break
            if not args.kills and time.monotonic() - start > 60 * args.minutes:
                break
            name = args.only[number % len(args.only)]
            if args.kills and kills[name].total() >= args.kills:
                continue
            if name not in whole:
                folder = make_project(root / f'{name}_whole')
                end = run(python, folder, *COMMANDS[name])
                assert end.code == 0, end.output
                whole[name] = end.events
            folder = make_project(root / f'{name}_{number}')
            kills[name] += kill_until_done(python, folder, COMMANDS[name], whole[name], dice)
            if problems := same(root / f'{name}_whole', folder):
                sys.exit(f'{folder} differs after kills: {problems[:10]}')
            subprocess.run(['rm', '-r', str(folder)], check=True)
            counts = {name: dict(count) for name, count in kills.items()}
            print(f'{time.monotonic() - start:6.0f} s: {counts}', flush=True)


if __name__ == '__main__':
    main()
