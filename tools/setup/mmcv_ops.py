#!/usr/bin/env python3
"""Builds mmcv with its compiled operators into the environment of the Python that runs this.

Detection models need the operators (RoIAlign, NMS, ...). ``pip install onedl-mmcv`` alone falls
short in three ways, each handled below. Built in isolation, it sees no torch and silently leaves
the operators out. It asks for C++17 where the headers of current torch need C++20. And pip's wheel
cache is keyed by the source alone: it offers a wheel without operators, or against another torch.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENT = 'onedl-mmcv==2.3.6'
TRY = 'import torch; from mmcv.ops import nms; nms(torch.ones(2, 4), torch.ones(2), 0.5)'

# mmcv puts its -std=c++17 last, where it wins over any flag from the environment. So the compiler
# is wrapped in a script that rewrites the flag; nvcc obeys the same one.
WRAPPER = """#!/bin/sh
for arg do
  shift
  if [ "$arg" = -std=c++17 ]; then arg=-std=c++20; fi
  set -- "$@" "$arg"
done
exec {compiler} "$@"
"""


def main() -> int:
    if operators_load():
        print(f'{REQUIREMENT}: the compiled operators are there')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        environment = build_environment(Path(folder))
        # The first try takes a wheel from pip's cache if there is one, the second cannot.
        for attempt in ("with pip's cache", 'anew'):
            print(f'{REQUIREMENT}: installing {attempt}', flush=True)
            if (
                pip(
                    'install',
                    '-v',
                    '--no-build-isolation',
                    '--no-deps',
                    '--force-reinstall',
                    REQUIREMENT,
                    environment=environment,
                )
                != 0
            ):
                return 1
            if operators_load():
                return 0
            print('the installed mmcv has no operators that load; emptying the cache of it')
            pip('cache', 'remove', 'onedl_mmcv*')
    print('mmcv was built, but its operators do not load:', flush=True)
    subprocess.run([sys.executable, '-c', TRY])
    return 1


def operators_load() -> bool:
    """Whether an operator can be imported and called, tried in a process of its own."""
    command = [sys.executable, '-c', TRY]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def build_environment(folder: Path) -> dict:
    """The environment of the build; the compilers' wrappers are written to ``folder``."""
    environment = dict(os.environ)
    # One compiler takes up to 2 GB.
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    jobs = max(1, min(len(os.sched_getaffinity(0)), memory // 2_500_000_000))
    environment.setdefault('MAX_JOBS', str(jobs))
    environment['CXX'] = wrap(folder / 'c++', environment.get('CXX', 'c++'))
    nvcc = find_nvcc(environment)
    if nvcc:
        environment['PYTORCH_NVCC'] = wrap(folder / 'nvcc', nvcc)
    else:
        # With a GPU in sight mmcv insists on nvcc. Hidden, it builds the operators for the CPU.
        environment['CUDA_VISIBLE_DEVICES'] = ''
        print('no nvcc: building the operators for the CPU only')
    return environment


def find_nvcc(environment: dict):
    home = environment.get('CUDA_HOME')
    return shutil.which('nvcc', path=f'{home}/bin' if home else None)


def wrap(script: Path, compiler: str) -> str:
    script.write_text(WRAPPER.format(compiler=compiler))
    script.chmod(0o755)
    return str(script)


def pip(*arguments: str, environment=None) -> int:
    command = [sys.executable, '-m', 'pip', '--no-input', '--disable-pip-version-check', *arguments]
    return subprocess.run(command, env=environment).returncode


if __name__ == '__main__':
    sys.exit(main())
