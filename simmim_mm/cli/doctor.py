"""What is installed, and what this machine can do: ``simmim doctor``."""

import argparse
import os
import re
import shutil
import sys
from importlib import metadata
from typing import NamedTuple

HELP = 'what is installed, what is missing, and what this machine can do'
DESCRIPTION = """
Show versions beside those that simmim_mm was verified with, optional parts that are missing, and
what the processor, GPUs, memory and disk are good for, with advice where something is amiss.
"""
_GIB = 2**30
_SHARED_MEMORY = 1 * _GIB  # a few workers' batches


class Finding(NamedTuple):
    """A line of the table; ``advice`` is empty where all is well."""

    name: str
    value: str
    advice: str = ''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--folder', default='.', help='whose disk to look at (where you are)')


def run(args: argparse.Namespace) -> None:
    for title, findings in (
        ('Installed', installed()),
        ('Optional', optional()),
        ('Machine', machine(args.folder)),
    ):
        print(title)
        for finding in findings:
            print(f'  {finding.name:18}{finding.value}')
            if finding.advice:
                print(f'  {"":18}-> {finding.advice}')


def installed() -> list[Finding]:
    """Python, this package and what it stands on."""
    from simmim_mm._stack import PIECES, installed_version
    from simmim_mm.version import __version__

    found = [Finding('simmim_mm', __version__), Finding('Python', sys.version.split()[0])]
    for piece in PIECES:
        verified = piece.pin.split()[0].partition('==')[2]
        versions = [(n, v) for n in piece.distributions if (v := installed_version(n))]
        name, version = versions[0] if versions else (piece.module, 'a source tree')
        same = version.partition('+')[0] == verified
        found.append(Finding(name, version if same else f'{version} (verified: {verified})'))
    return found


def optional() -> list[Finding]:
    """The extras of this package and what of each is missing."""
    from simmim_mm._stack import StackError, installed_version, require_mmcv_ops

    found = []
    for extra, names in _extras().items():
        missing = [name for name in names if installed_version(name) is None]
        advice = f"pip install '.[{extra}]'" if missing else ''
        value = f'missing: {", ".join(missing)}' if missing else 'complete'
        found.append(Finding(extra, value, advice))
    try:
        require_mmcv_ops()
        found.append(Finding('mmcv operators', 'compiled'))
    except StackError as error:
        advice = str(error).rpartition('fix: ')[2]
        found.append(Finding('mmcv operators', 'missing, detectors need them', advice))
    return found


def _extras() -> dict[str, list[str]]:
    """Names of the distributions of each extra that a user may want."""
    extras: dict[str, list[str]] = {}
    for line in metadata.requires('simmim_mm') or []:
        found = re.fullmatch(r'([\w.-]+).*; extra == [\'"](\w+)[\'"]', line)
        if found and found[2] not in ('stack', 'development'):
            extras.setdefault(found[2], []).append(found[1])
    return extras


def machine(folder: str) -> list[Finding]:
    """Processor, GPUs, memory, shared memory and disk."""
    import torch

    from simmim_mm.processor import BFLOAT16, cpu_flags, cpu_name

    flags = cpu_flags() or frozenset()
    cores = len(os.sched_getaffinity(0))
    advice = ''
    if cores < (os.cpu_count() or cores):
        advice = f'the machine has {os.cpu_count()}, this process may use {cores}'
    found = [Finding('processor', f'{cpu_name()}, {cores} cores', advice)]
    bfloat16 = bool(BFLOAT16 & flags)
    found.append(_ability('bfloat16', bfloat16, '--amp is fast', 'train without --amp on the CPU'))
    vnni = bool({'avx512_vnni', 'avx_vnni', 'amx_int8', 'i8mm'} & flags)
    found.append(_ability('int8 (VNNI)', vnni, 'int8 exports are fast', 'int8 exports gain little'))
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        bf16 = '' if card.major >= 8 else ', fp16 only'
        found.append(Finding(f'GPU {i}', f'{card.name}, {card.total_memory / _GIB:.0f} GiB{bf16}'))
    if not torch.cuda.device_count():
        has_driver = shutil.which('nvidia-smi') is not None
        found.append(Finding('GPU', 'none', _no_gpu(has_driver, torch.version.cuda)))
    total, free = _memory()
    advice = 'less than 2 GiB are free: fewer workers, a smaller batch' if free < 2 * _GIB else ''
    found.append(Finding('memory', f'{free / _GIB:.1f} of {total / _GIB:.1f} GiB free', advice))
    if os.path.isdir('/dev/shm'):
        shared = shutil.disk_usage('/dev/shm').total
        advice = 'workers pass images through it: start the container with --shm-size=8g'
        short = advice if shared < _SHARED_MEMORY else ''
        found.append(Finding('shared memory', f'{shared / _GIB:.1f} GiB', short))
    disk = shutil.disk_usage(folder)
    advice = 'a training keeps several checkpoints: make room' if disk.free < 5 * _GIB else ''
    found.append(Finding('disk', f'{disk.free / _GIB:.0f} GiB free in {folder}', advice))
    return found


def _ability(name: str, there: bool, use: str, advice: str) -> Finding:
    return Finding(name, f'yes, {use}') if there else Finding(name, 'no', advice)


def _no_gpu(has_driver: bool, cuda: str | None) -> str:
    if has_driver and cuda is None:
        return 'the machine has a driver, and this torch is built for CPUs: install one with CUDA'
    if has_driver:
        return f'the machine has a driver, and torch (CUDA {cuda}) finds no card: see nvidia-smi'
    return 'small models train on the CPU; `simmim pretrain` chooses one'


def _memory() -> tuple[int, int]:
    """Bytes of memory, and those that are free or can be freed."""
    with open('/proc/meminfo') as file:
        entries = dict(line.split(':') for line in file)
    total, free = (int(entries[key].split()[0]) * 1024 for key in ('MemTotal', 'MemAvailable'))
    return total, free
