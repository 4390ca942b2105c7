"""Damaged and hostile files for every reader: ``make fuzz``.

    python tests/faults/fuzz.py                      # images, checkpoints, annotations, configs
    python tests/faults/fuzz.py images --cases 500   # of each kind of image
    python tests/faults/fuzz.py images/tiff-lzw --first 4711 --cases 1 --verbose

A kind is a reader with sound files to begin with. A case is one of these files, changed at random,
and follows from the name of its kind and its number alone. Cases are read in a child process, which
is killed and replaced if it hangs. A case is a fault of this package if

- something else than the documented error is raised, or its text is not one line with the path;
- a reader takes more than five seconds of the processor, or waits for 30;
- it takes more than the stated multiple of the memory that the file declares;
- anything is written to standard output or standard error, by Python or by a C library;
- the process ends.

It ends with code 1 if there was any.
"""

import argparse
import ctypes
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import MMLogger

SECONDS, HANGS = 5.0, 30.0  # of the processor; of waiting, by the clock
# A case may take so many times what its file declares or holds, and so many bytes more.
MULTIPLE, ALLOWANCE = 4, 48 << 20
ADDRESS_SPACE = 6 << 30  # bytes beyond those of the process: larger requests fail
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt


class Kind(NamedTuple):
    """A reader and what it is given.

    Attributes:
        name: ``group/name``.
        suffix: Of its files.
        seeds: Makes sound files, in a folder that the reader may use.
        mutate: Changes a file.
        read: Reads a file; raises.
        errors: What it may raise.
        declared: Bytes that a file says it will become; it may raise anything.
    """

    name: str
    suffix: str
    seeds: Callable[[Path], Sequence[Any]]
    mutate: Callable[[Any, random.Random], bytes]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...]
    declared: Callable[[Path], int] = lambda path: 0


class Result(NamedTuple):
    """What became of a case.

    Attributes:
        fault: What is wrong with it; empty if nothing is.
        outcome: ``'read'``, or the class of the documented error.
        detail: The error, a traceback, or what was written.
        seconds: Of the processor, of the slowest reader.
        growth: Bytes of memory at the peak, beyond those before.
        multiple: ``growth``, without the allowance, over what the file declares.
    """

    fault: str
    outcome: str = ''
    detail: str = ''
    seconds: float = 0.0
    growth: int = 0
    multiple: float = 0.0


# ---- changes ----
_INTERESTING = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 64, 127, 128, 255, 256, 1000, 4096, 32767, 32768,
                65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1,
                (1 << 64) - 1)  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes, mostly near the ends, where headers and tables are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 4))):
        size = len(changed)
        if not size:
            break
        places = (
            rng.randrange(size),
            rng.randrange(min(size, 128)),
            rng.randrange(min(size, 6000)),
            size - 1 - rng.randrange(min(size, 3000)),
        )
        i = rng.choice(places)
        match rng.randrange(9):
            case 0:
                changed[i] ^= 1 << rng.randrange(8)
            case 1:
                changed[i] = rng.randrange(256)
            case 2:
                del changed[i : i + rng.randint(1, 40)]
            case 3:
                changed[i:i] = rng.randbytes(rng.randint(1, 20))
            case 4:
                changed[i : i + 8] = b'\xff' * 8
            case 5:
                del changed[max(i, 1) :]
            case 6 | 7:
                width, order = rng.choice((1, 2, 4, 8)), rng.choice(('little', 'big'))
                number = rng.choice(_INTERESTING) % (1 << (8 * width))
                changed[i : i + width] = number.to_bytes(width, order)
            case 8:
                part = changed[i : i + rng.randint(1, 200)]
                j = rng.randrange(size)
                changed[j:j] = part * rng.randint(1, 3)
    return bytes(changed)


_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2, 3.5, 255, 65536, 1 << 31, 1 << 63, 10**30, 1e30, 1e308),
    *(float('nan'), float('inf'), '', 'x', '0', '../x', '/', 'a' * 5000, '\udcff', '\0', '\n'),
    *([], [None], [[]], [1, 2, 3, 4], {}, {'': 0}, {'type': 3}, {'type': 'x'}),
)


def odd_values(tree: Any, rng: random.Random, values: Sequence[Any] = _ODD) -> Any:
    """A copy of nested dicts and lists with one to three values replaced, removed or renamed."""
    tree = _copied(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parent = tree
        while isinstance(parent, (dict, list)) and parent:
            key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
            inner = parent[key]
            if isinstance(inner, (dict, list)) and inner and rng.random() < 0.75:
                parent = inner
                continue
            match rng.randrange(6):
                case 0:
                    del parent[key]
                case 1 if isinstance(parent, dict):
                    parent[rng.choice((f'{key}.x', '', 'type', 'id'))] = parent.pop(key)
                case 2 if isinstance(parent, list):
                    parent.insert(key, inner)
                case _:
                    parent[key] = _copied(rng.choice(values))
            break
    return tree


def _copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, list) else tree


# ---- the child ----
def work(kinds: Sequence[Kind], folder: Path, cases: Connection) -> None:
    """Read the cases that come through ``cases``, and answer each with a :class:`Result`."""
    for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):  # what is freed is given back at once
        ctypes.CDLL(None).mallopt(threshold, 1 << 17)
    os.chdir(folder)
    written = os.memfd_create('output')
    for stream in (1, 2):
        os.dup2(written, stream)
    MMLogger.get_current_instance().setLevel('CRITICAL')  # what is logged is meant to be read
    seeds = cache(lambda number: kinds[number].seeds(folder))
    while True:
        try:
            number, case = cases.recv()
        except EOFError:
            return
        kind = kinds[number]
        path = folder / f'case{kind.suffix}'
        path.write_bytes(content_of(kind, case, seeds(number)))
        flush()
        os.ftruncate(written, 0)
        os.lseek(written, 0, os.SEEK_SET)
        result = attempt(kind, path)
        flush()
        if length := os.fstat(written).st_size:
            text = os.pread(written, min(length, 2000), 0).decode(errors='replace')
            result = result._replace(fault=result.fault or 'output', detail=text)
        cases.send(result)


def flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def content_of(kind: Kind, case: int, seeds: Sequence[Any]) -> bytes:
    """The file of a case: the same each time."""
    rng = random.Random(f'{kind.name} {case}')
    return kind.mutate(rng.choice(seeds), rng)


_LAPS: list[float] = []


def lap() -> None:
    """Say that a reader has ended, and the time of the next begins."""
    _LAPS.append(time.process_time())


def attempt(kind: Kind, path: Path) -> Result:
    """Read a file, and judge what comes of it."""
    try:
        declared = kind.declared(path)
    except Exception:
        declared = 0
    fault, outcome, detail = '', 'read', ''
    with address_space(ADDRESS_SPACE):
        before = reset_peak()
        _LAPS[:] = [time.process_time()]
        try:
            kind.read(path)
        except kind.errors as error:
            text, outcome = str(error), type(error).__name__
            if '\n' in text or path.name not in text:
                fault, detail = 'not one line with the path', text
        except Exception:
            fault, detail = 'another error', traceback.format_exc()
        lap()
        seconds = max(b - a for a, b in pairwise(_LAPS))
        growth = memory('VmHWM') - before
    multiple = max(0, growth - ALLOWANCE) / max(declared, path.stat().st_size, 1)
    if seconds > SECONDS:
        fault = fault or 'time'
    if multiple > MULTIPLE:
        fault = fault or 'memory'
        detail = detail or f'{growth >> 20} MB; {declared} bytes declared'
    return Result(fault, outcome, detail, seconds, growth, multiple)


@contextmanager
def address_space(size: int) -> Iterator[None]:
    """Let the process have ``size`` bytes of address space more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory('VmSize') + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def memory(entry: str) -> int:
    """A number of bytes from the status of this process."""
    status = Path('/proc/self/status').read_text()
    return int(status.partition(f'{entry}:')[2].split()[0]) << 10


def reset_peak() -> int:
    """Begin to look for the peak of resident memory anew; returns what is resident."""
    Path('/proc/self/clear_refs').write_text('5')
    return memory('VmHWM')


# ---- the parent ----
def processor_time(pid: int | None) -> tuple[str, float]:
    """State of a process (R, D: it works or would like to), and its time on the processor."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Child:
    """The process that reads."""

    def __init__(self, kinds: Sequence[Kind], folder: Path):
        self.kinds, self.folder = kinds, folder
        self.start()

    def start(self) -> None:
        """Fork, from a process that has imported what the readers import."""
        self.cases, end = multiprocessing.Pipe()
        self.process = multiprocessing.get_context('fork').Process(
            target=work, args=(self.kinds, self.folder, end), daemon=True
        )
        self.process.start()
        end.close()

    def read(self, number: int, case: int) -> Result:
        """Have a case read; a process that hangs or has ended is replaced."""
        self.cases.send((number, case))
        began = processor_time(self.process.pid)
        try:
            while not self.cases.poll(HANGS):
                state, seconds = processor_time(self.process.pid)
                if state not in 'RD' or seconds - began[1] > SECONDS:
                    break  # else others have the processor
            else:
                return self.cases.recv()
            fault, detail = 'hangs', f'no answer within {HANGS:.0f} seconds'
        except EOFError:
            self.process.join()
            fault, detail = 'ended', f'the process ended with {self.process.exitcode}'
        self.process.kill()
        self.process.join()
        self.start()
        return Result(fault, detail=detail)

    def stop(self) -> None:
        """End the process."""
        self.cases.close()
        self.process.join(5)
        self.process.kill()


def fuzz(
    kinds: Sequence[Kind], cases: range | dict[str, range], each: Callable[[Kind, int, Result], Any]
) -> None:
    """Read cases of each kind, and hand every result on."""
    with tempfile.TemporaryDirectory(prefix='fuzz') as folder:
        child = Child(kinds, Path(folder))
        try:
            for number, kind in enumerate(kinds):
                for case in cases[kind.name] if isinstance(cases, dict) else cases:
                    each(kind, case, child.read(number, case))
        finally:
            child.stop()


class Tally:
    """Counts the results of each kind, and prints the faults."""

    def __init__(self, verbose: bool = False):
        self.verbose = verbose
        self.outcomes: dict[str, Counter] = {}
        self.worst: dict[str, tuple[float, int, float]] = {}
        self.faults: list[str] = []

    def __call__(self, kind: Kind, case: int, result: Result) -> None:
        self.outcomes.setdefault(kind.name, Counter())[result.outcome or result.fault] += 1
        seconds, growth, multiple = self.worst.get(kind.name, (0.0, 0, 0.0))
        self.worst[kind.name] = (
            max(seconds, result.seconds),
            max(growth, result.growth),
            max(multiple, result.multiple),
        )
        if result.fault or self.verbose:
            text = f'{kind.name} --first {case} --cases 1: {result.fault or result.outcome}'
            print(f'{text}\n{result.detail}'.rstrip(), flush=True)
        if result.fault:
            self.faults.append(f'{kind.name} {case}: {result.fault}: {result.detail[-300:]}')

    def table(self) -> str:
        """A line for each kind."""
        lines = [f'{"kind":28} {"cases":>6} {"read":>6} {"s":>5} {"MB":>6} {"times":>6}  refused']
        for name, counts in self.outcomes.items():
            seconds, growth, multiple = self.worst[name]
            refused = ', '.join(f'{n} {k}' for k, n in counts.most_common() if k != 'read')
            lines.append(
                f'{name:28} {counts.total():6} {counts["read"]:6} {seconds:5.2f} '
                f'{growth >> 20:6} {multiple:6.1f}  {refused}'
            )
        return '\n'.join(lines)


CASES = dict(images=10_000, checkpoints=2_000, annotations=1_000, configs=500)


def spread_over(kinds: Sequence[Kind], first: int, cases: int | None) -> dict[str, range]:
    """The cases of each kind: ``cases`` of each, or those of :data:`CASES` shared by a group."""
    number = Counter(kind.name.split('/')[0] for kind in kinds)
    found = {}
    for kind in kinds:
        group = kind.name.split('/')[0]
        each = cases if cases is not None else -(-CASES[group] // number[group])
        found[kind.name] = range(first, first + each)
    return found


def main() -> None:
    from fuzz_kinds import KINDS

    parser = argparse.ArgumentParser(description='Damaged and hostile files for every reader.')
    parser.add_argument('kinds', nargs='*', help='a group, or group/kind (all)')
    parser.add_argument('--cases', type=int, help=f'of each kind (in all: {CASES})')
    parser.add_argument('--first', type=int, default=0, help='number of the first (%(default)s)')
    parser.add_argument('--verbose', action='store_true', help='print every case')
    args = parser.parse_args()
    wanted = [k for k in KINDS if not args.kinds or {k.name, k.name.split('/')[0]} & {*args.kinds}]
    if not wanted:
        parser.error(f'no such kind; there are {", ".join(kind.name for kind in KINDS)}')
    tally, began = Tally(args.verbose), time.monotonic()
    fuzz(wanted, spread_over(wanted, args.first, args.cases), tally)
    print(tally.table())
    total = sum(counts.total() for counts in tally.outcomes.values())
    print(f'{total} cases, {len(tally.faults)} faults, {time.monotonic() - began:.0f} s')
    sys.exit(bool(tally.faults))


if __name__ == '__main__':
    main()
