"""A training on three hosts, one of which is cut off: does it go on by itself, and how soon?

The hosts are network namespaces of this machine, joined by a bridge; the work dir is shared, as on
a cluster. ``torchrun`` with rendezvous starts a process on each. Once there is a checkpoint, the
cable of the third host is pulled; the others are to notice it, meet again and train on from the
last checkpoint as two. With ``--back cable`` it is then plugged in again, with ``--back reboot``
the third host was switched off meanwhile and starts ``torchrun`` anew; the three are to train on
together. Root is needed, and ``ip`` of iproute2::

    python benchmarks/cut_off_host.py FOLDER_FOR_THE_RUN [--timeout 20] [--back reboot]

Prints what happens, in seconds since the start.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
CONFIG = f"""
_base_ = '{ROOT}/configs/_base_/default_runtime.py'
pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomBlockMask', mask_patch_size=8, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline),
)
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4]
    ),
    backbone=dict(
        type='MaskedSwin',
        arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        window_size=4,
        out_indices=(1,),
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead'),
)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = []
train_cfg = dict(type='EpochTrainLoop', max_epochs=100000)
custom_hooks = [dict(type='ReproducibilityHook')]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=20, by_epoch=False))
"""
HOSTS = ('simmim1', 'simmim2', 'simmim3')


def ip(*args: str, check: bool = True) -> None:
    subprocess.run(['ip', *args], check=check, stderr=None if check else subprocess.DEVNULL)


def connect() -> None:
    """Namespaces with the addresses 10.99.0.1, .2, .3 at a bridge."""
    ip('link', 'add', 'simmim', 'type', 'bridge')
    ip('link', 'set', 'simmim', 'up')
    for number, host in enumerate(HOSTS, 1):
        ip('netns', 'add', host)
        ip('link', 'add', host, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host)
        ip('link', 'set', host, 'master', 'simmim', 'up')
        ip('-n', host, 'addr', 'add', f'10.99.0.{number}/24', 'dev', 'eth0')
        ip('-n', host, 'link', 'set', 'eth0', 'up')
        ip('-n', host, 'link', 'set', 'lo', 'up')


def disconnect() -> None:
    for host in HOSTS:
        ip('netns', 'del', host, check=False)
        ip('link', 'del', host, check=False)
    ip('link', 'del', 'simmim', check=False)


def start(folder: Path, number: int, args: argparse.Namespace) -> subprocess.Popen:
    """torchrun on a host, which joins the job or waits for it."""
    command = ['ip', 'netns', 'exec', HOSTS[number - 1], sys.executable]
    command += ['-m', 'torch.distributed.run', '--nnodes=2:3', '--nproc-per-node=1']
    command += ['--rdzv-backend=c10d', '--rdzv-id=job', '--rdzv-endpoint=10.99.0.1:29400']
    command += ['--rdzv-conf', f'is_host={int(number == 1)}']
    command += ['--max-restarts=10', f'--local-addr=10.99.0.{number}']
    command += [f'{ROOT}/tools/train.py', 'tiny.py', '--launcher', 'pytorch', '--work-dir', 'work']
    command += ['--resume', '--cfg-options', f'env_cfg.dist_cfg.timeout={args.timeout}']
    return subprocess.Popen(
        command,
        cwd=folder,
        env=dict(
            os.environ,
            GLOO_SOCKET_IFNAME='eth0',
            PYTHONPATH=str(ROOT),
            OMP_NUM_THREADS='1',
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE=str(int(not args.shared_store)),
        ),
        stdout=(folder / f'host{number}.log').open('a'),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill(host: str, agent: subprocess.Popen) -> None:
    """End torchrun and what it has started, which has sessions of its own."""
    if agent.poll() is None:
        agent.kill()
    agent.wait()
    pids = subprocess.run(['ip', 'netns', 'pids', host], capture_output=True, text=True)
    for pid in pids.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), 9)


def runs(folder: Path) -> list[str]:
    """The log of each start of the training, in order."""
    return [path.read_text() for path in sorted(folder.glob('work/*/*.log'))]


def wait(what: str, condition, begin: float, seconds: float = 600.0) -> None:
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline:
            sys.exit(f'{time.time() - begin:6.1f} s  not within {seconds:.0f} s: {what}')
        time.sleep(0.1)
    print(f'{time.time() - begin:6.1f} s  {what}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='empty or new')
    parser.add_argument('--timeout', type=int, default=20, help='seconds of a lost connection')
    parser.add_argument('--back', choices=['cable', 'reboot'], help='how the host comes back')
    text = 'let the processes share the store of torchrun, as is the default in PyTorch'
    parser.add_argument('--shared-store', action='store_true', help=text)
    args = parser.parse_args()
    folder = args.folder.resolve()
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(48):
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'images' / f'{number:02}.png')
    (folder / 'tiny.py').write_text(CONFIG)
    disconnect()
    connect()
    agents, begin = [], time.time()
    try:
        agents = [start(folder, number, args) for number in (1, 2, 3)]
        pointer = folder / 'work' / 'last_checkpoint'
        wait('three hosts train, the first checkpoint is written', pointer.is_file, begin)
        ip('-n', HOSTS[2], 'link', 'set', 'eth0', 'down')
        print(f'{time.time() - begin:6.1f} s  host 3 is cut off', flush=True)
        before = len(runs(folder))
        wait('the others start again', lambda: len(runs(folder)) > before, begin)
        wait('and train', lambda: 'Epoch(train)' in runs(folder)[-1], begin)
        tell(folder)
        if args.back == 'reboot':
            kill(HOSTS[2], agents[2])
        if args.back:
            ip('-n', HOSTS[2], 'link', 'set', 'eth0', 'up')
            print(f'{time.time() - begin:6.1f} s  host 3 is back', flush=True)
            if args.back == 'reboot':
                agents[2] = start(folder, 3, args)

            def three_train() -> bool:
                if any(agent.poll() is not None for agent in agents[:2]):
                    sys.exit(f'{time.time() - begin:6.1f} s  the job ended, see {folder}/host*.log')
                log = runs(folder)[-1]
                return 'x 3 processes' in log and 'Epoch(train)' in log

            wait('the three train', three_train, begin, seconds=300)
            tell(folder)
    finally:
        for host, agent in zip(HOSTS, agents):
            kill(host, agent)
        disconnect()


def tell(folder: Path) -> None:
    """Print from where the last start went on, and with how many processes."""
    log = runs(folder)[-1]
    found = re.search(r'Resuming from \S*(iter_\d+)|Load checkpoint from \S*', log)
    print(f'          {found and found.group(0)}, {_processes(log)} processes', flush=True)


def _processes(log: str) -> str:
    found = re.search(r'x (\d+) processes', log)
    return found.group(1) if found else '1'


if __name__ == '__main__':
    main()
