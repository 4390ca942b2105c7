#!/usr/bin/env python3
"""Builds mmcv with its compiled operators into the environment of the Python that runs this.

Detection models need the operators (RoIAlign, NMS, ...). ``pip install onedl-mmcv`` alone falls
short in three ways, each handled below. Built in isolation, it sees no torch and silently leaves
the operators out. It asks for C++17 where the headers of current torch need C++20. And pip's wheel
cache is keyed by the source alone: it offers a wheel without operators, or against another torch.

Nearly all of the build's time goes into torch's headers, once for each of 78 files. For the CPU
the files are compiled in four groups instead (a unity build), and without the debugging symbols
that Python asks for: the same operators, in about a minute on two cores.
"""

import os
import shutil
import subprocess
import sys
import tarfile
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
exec {compiler} "$@"{options}
"""
GROUPS = 4  # of the sources, as many as there are files with helpers of the same names
ALIKE = ('bezier_align', 'roi_align', 'roi_align_rotated', 'rotated_feature_align')
LAST = 'psamask'  # in its group: it makes macros of `min` and `max`


def main() -> int:
    if operators_load():
        print(f'{REQUIREMENT}: the compiled operators are there')
        return 0
    for wheel in cached_wheels():
        print(f'installing {wheel}, built earlier', flush=True)
        if install(wheel) == 0 and operators_load():
            return 0
    with tempfile.TemporaryDirectory() as folder:
        environment = build_environment(Path(folder))
        if not builds_for_gpus(environment):
            print(f'{REQUIREMENT}: building for the CPU', flush=True)
            if install(grouped_source(Path(folder)), environment) == 0 and operators_load():
                return 0
        # With a GPU, or if the groups do not compile here: as mmcv builds itself.
        print(f'{REQUIREMENT}: building file by file', flush=True)
        if install(REQUIREMENT, environment, '--no-cache-dir') != 0:
            return 1
    if operators_load():
        return 0
    print('mmcv was built, but its operators do not load:', flush=True)
    subprocess.run([sys.executable, '-c', TRY])
    return 1


def builds_for_gpus(environment: dict) -> bool:
    """Whether mmcv's build would take the operators for GPUs along, as its setup.py decides it."""
    if environment.get('FORCE_CUDA') == '1':
        return True
    command = [sys.executable, '-c', 'import sys, torch; sys.exit(not torch.cuda.is_available())']
    return subprocess.run(command, env=environment).returncode == 0


def install(what, environment=None, *options: str) -> int:
    bare = ('--no-build-isolation', '--no-deps', '--force-reinstall')
    return pip('install', '-v', *bare, *options, str(what), environment=environment)


def cached_wheels() -> list:
    """Wheels that pip has built here before; they may be without operators."""
    name, _, version = REQUIREMENT.replace('-', '_').partition('==')
    command = [sys.executable, '-m', 'pip', 'cache', 'list', '--format=abspath', name]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [line for line in found.stdout.split('\n') if f'-{version}-' in line]


def grouped_source(folder: Path) -> Path:
    """mmcv's source with its C++ files included by ``GROUPS`` new ones."""
    bare = ('--no-deps', '--no-build-isolation', '--no-binary', ':all:')
    if pip('download', *bare, '-d', str(folder), REQUIREMENT) != 0:
        sys.exit(f'{REQUIREMENT} cannot be downloaded')
    with tarfile.open(next(folder.glob('*.tar.gz'))) as archive:
        archive.extractall(folder, filter='data')
    source = next(path.parent for path in folder.glob('*/setup.py'))
    csrc = source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    groups: list = [[] for _ in range(GROUPS)]
    on_cpu = sorted(csrc.glob('cpu/*.cpp'), key=lambda path: (path.stem not in ALIKE, path))
    for i, path in enumerate(on_cpu):
        groups[i % GROUPS].append(path)
    files = sorted(csrc.glob('*.cpp'))
    for i, path in enumerate(files):
        groups[i * GROUPS // len(files)].append(path)
    for i, members in enumerate(groups):
        # torch first: some of the files define macros that its headers trip over
        lines = ['#include <torch/extension.h>']
        for path in sorted(members, key=lambda path: path.stem == LAST):
            hidden = path.rename(path.with_suffix('.inc'))  # from the list in setup.py
            lines.append(f'#include "{hidden.relative_to(csrc)}"')
        (csrc / f'group_{i}.cpp').write_text('\n'.join(lines) + '\n')
    return source


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
    environment['CXX'] = wrap(folder / 'c++', environment.get('CXX', 'c++'), ' -g0')
    home = environment.get('CUDA_HOME')
    nvcc = shutil.which('nvcc', path=f'{home}/bin' if home else None)
    if nvcc:
        environment['PYTORCH_NVCC'] = wrap(folder / 'nvcc', nvcc)
    else:
        # With a GPU in sight mmcv insists on nvcc. Hidden, it builds the operators for the CPU.
        environment['CUDA_VISIBLE_DEVICES'] = ''
        print('no nvcc: building the operators for the CPU only')
    return environment


def wrap(script: Path, compiler: str, options: str = '') -> str:
    script.write_text(WRAPPER.format(compiler=compiler, options=options))
    script.chmod(0o755)
    return str(script)


def pip(*arguments: str, environment=None) -> int:
    command = [sys.executable, '-m', 'pip', '--no-input', '--disable-pip-version-check', *arguments]
    return subprocess.run(command, env=environment).returncode


if __name__ == '__main__':
    sys.exit(main())
