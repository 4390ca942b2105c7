#!/usr/bin/env python3
"""Makes the virtual environment ``.venv`` step by step: ``environment.py {lint,docs,demo,full}``.

    lint   the linters
    docs   Sphinx
    demo   torch, mmengine, mmcv without compiled operators, mmpretrain: all but detection
    full   also mmcv's compiled operators, mmdet, mmseg, the test tools

Each step leaves a stamp when it has ended well, keyed by what it installs and the Python version;
later calls skip it. So the whole can be interrupted, repeated and upgraded. Output of the steps
goes to ``.venv/setup/*.log``. Runs under any Python 3.6+ to tell an old one what is wrong.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from steps import PIP_INSTALL, PYTHON, ROOT, STATE, VENV, SetupError, Step

VERIFIED_PYTHON = (3, 11)
# The range of versions stands in setup.py.
MIN_PYTHON = (3, int(re.search(r'>=3\.(\d+)', (ROOT / 'setup.py').read_text()).group(1)))
NEEDED_GB = 12
BARE = ('onedl-', 'imagecorruptions', 'imaug', 'timm', 'gradio==')

IMPORTS = {
    'demo': 'torch, torchvision, cv2, skimage, sklearn, mmcv, mmpretrain, simmim_mm',
    'full': 'mmcv.ops, mmdet.apis, mmseg.apis, pytest, pytest_cov',
}


def requirements(*names):
    """The lines of ``requirements/NAME.txt``, split into (torch, bare, others).

    The bare ones are installed without their dependencies: OpenMMLab's and imagecorruptions ask
    for an OpenCV with windows, imaug for an old one, timm for the hub, gradio for an old Pillow.
    What they import is listed beside them.
    """
    lines = []
    for name in names:
        text = (ROOT / 'requirements' / f'{name}.txt').read_text()
        lines += [line for line in text.split('\n') if line and not line.startswith('#')]
    lines = list(dict.fromkeys(lines))
    torch = [line for line in lines if line.startswith(('torch==', 'torchvision=='))]
    bare = [line for line in lines if line.startswith(BARE)]
    return torch, bare, [line for line in lines if line not in torch + bare]


def install_step(name, say, packages, options=(), **kwargs):
    constraints = ROOT / 'requirements' / 'verified.txt'
    if sys.version_info[:2] == VERIFIED_PYTHON and '--no-deps' not in options:
        options = (*options, '-c', str(constraints))
        kwargs.setdefault('key', [*packages, constraints.read_text()])
    kwargs.setdefault('key', packages)
    kwargs.setdefault('hint', 'is the package registry reachable? Then repeat the command')
    return Step(name, say, [*PIP_INSTALL, *options, *packages], **kwargs)


def steps(level):
    """The steps of a level, in order."""
    if level == 'lint':
        return [install_step('lint', 'Linters (10 s)', requirements('lint')[2])]
    if level == 'docs':
        return [install_step('docs', 'Sphinx (20 s)', requirements('docs')[2])]

    torch, core, libraries = requirements('stack', 'runtime', 'demo', 'build')
    mmcv = [line for line in core if line.startswith('onedl-mmcv=')]
    core = [line for line in core if line not in mmcv]
    _, downstream, more = requirements(
        *('detection', 'segmentation', 'formats', 'deploy', 'robustness', 'trackers', 'board'),
        *('tests', 'lint'),
    )
    bare = ('--no-deps', '--no-build-isolation')

    builder = ROOT / 'tools' / 'setup' / 'mmcv_ops.py'
    operators = Step(
        'mmcv-operators',
        'mmcv with compiled operators, for detection (about 1 min on 2 cores, once)',
        [PYTHON, '-u', str(builder)],
        [*mmcv, *torch, builder.read_text()],
        hint='mmcv did not build; with a GPU, CUDA_VISIBLE_DEVICES= builds for the CPU only',
    )
    # Built in isolation, without torch, mmcv leaves its operators out and is there in seconds.
    # That wheel stays out of pip's cache, which would offer it to the build with operators.
    quick = install_step(
        'mmcv',
        'mmcv without compiled operators (20 s)',
        mmcv,
        ('--no-deps', '--no-cache-dir'),
        covered_by=operators,
    )
    base = [
        install_step('torch', 'PyTorch (about 2 min, 6 GB on disk)', torch),
        install_step('libraries', 'Libraries (about 1 min)', libraries),
        # before mmcv, which imports mmengine when its operators are tried
        install_step('mmpretrain', 'mmengine, mmpretrain (30 s)', core, bare),
    ]
    own = Step(
        'simmim_mm',
        'simmim_mm itself, editable (5 s)',
        [*PIP_INSTALL, *bare, '-e', '.'],
        # with its place: in a copied folder, Python would go on importing the original's code
        [str(ROOT), *((ROOT / name).read_text() for name in ('setup.py', 'pyproject.toml'))],
    )
    full = [
        *base,
        install_step('more-libraries', 'Libraries of mmdet, mmseg, tests (30 s)', more),
        operators,
        own,
        install_step('mmdet', 'mmdet, mmseg, corruptions, gradio (40 s)', downstream, bare),
        install_step(
            'transformers',
            'transformers, for tests, in a folder of its own (20 s)',
            requirements('transformers')[2],
            ('--no-deps', '--upgrade', '--target', str(VENV / 'transformers')),
        ),
    ]
    check_full = check_step('check', ', '.join(IMPORTS.values()), full)
    if level == 'full':
        return [*full, check_full]
    demo = [*base, quick, own]
    return [*demo, check_step('check-demo', IMPORTS['demo'], demo, covered_by=check_full)]


def check_step(name, modules, after, **kwargs):
    return Step(
        name,
        'Importing everything once (about 30 s)',
        [PYTHON, '-c', f'import {modules}'],
        [step.key for step in after],
        hint='the environment is damaged; `make clean-venv`, then repeat the command',
        **kwargs,
    )


def check_machine(level, torch_is_there):
    """Raises SetupError where the machine cannot carry the environment."""
    version = '.'.join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        raise SetupError(
            f'Python {version} is too old, 3.{MIN_PYTHON[1]} or later is needed (verified: 3.11); '
            'fix: install one and run `PYTHON=python3.11 make ...`'
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(
            f'Python {version} has no venv; fix (Debian): apt-get install python3-venv'
        ) from None
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if level not in ('lint', 'docs') and not torch_is_there and free < NEEDED_GB:
        raise SetupError(
            f'{free:.0f} GB of disk are free in {ROOT}, {NEEDED_GB} GB are needed; fix: make room'
        )


def check_compiler():
    if shutil.which(os.environ.get('CXX', 'c++').split()[0]) is None:
        raise SetupError('no C++ compiler; fix (Debian): apt-get install g++')
    header = Path(sysconfig.get_paths()['include']) / 'Python.h'
    if not header.exists():
        raise SetupError(f'{header} is missing; fix (Debian): apt-get install python3-dev')


def make_venv():
    """Makes ``.venv`` unless it is there with the Python version that runs this."""
    wanted = f'{sys.version_info[0]}.{sys.version_info[1]}'
    if Path(PYTHON).exists():
        test = f'import sys, pip; sys.exit({tuple(sys.version_info[:2])} != sys.version_info[:2])'
        if subprocess.run([PYTHON, '-c', test], stderr=subprocess.DEVNULL).returncode == 0:
            return
        print(f'.venv is incomplete or not of Python {wanted}: making it anew', flush=True)
        shutil.rmtree(str(VENV))
    print(f'Virtual environment .venv, Python {wanted} (5 s)', flush=True)
    subprocess.run([sys.executable, '-m', 'venv', str(VENV)], check=True)


def main(level):
    todo = steps(level)
    left = [step for step in todo if not step.done] if Path(PYTHON).exists() else todo
    if not left:
        print(f'Environment (.venv, {level}): complete')
        return
    check_machine(level, torch_is_there=todo[0].done)
    if any(step.name == 'mmcv-operators' for step in left):
        check_compiler()
    # Two makes at once would install over each other. The lock ends with the process.
    lock = os.open(str(ROOT / 'requirements'), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print('another set-up is running in this folder: waiting for it', flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    make_venv()
    STATE.mkdir(exist_ok=True)
    left = [step for step in todo if not step.done]
    for number, step in enumerate(left, 1):
        step.run(f'[{number}/{len(left)}]')
    print(f'Environment (.venv, {level}): complete')


if __name__ == '__main__':
    try:
        main(sys.argv[1])
    except SetupError as error:
        sys.exit(f'set-up: {error}')
    except KeyboardInterrupt:
        sys.exit('set-up: interrupted; repeat the command to go on from here')
