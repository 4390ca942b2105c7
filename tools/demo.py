#!/usr/bin/env python
"""Pretrain on sample photographs, or on your own, and show what was learned: python tools/demo.py.

Takes about four minutes on two CPU cores. It prepares the photographs, calls tools/train.py with
configs/demo/simmim_demo.py, and compares the model with fills that learn nothing.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path

from simmim_mm.cli.common import run_tool
from simmim_mm.processor import cpu_has_bfloat16

TOOLS = Path(__file__).resolve().parent
CONFIG = TOOLS.parent / 'configs' / 'demo' / 'simmim_demo.py'
# Photographs that come inside packages of the environment: nothing is downloaded. Textures (brick,
# grass, gravel, ...) are left out: trained on them as well, the model does worse on photographs.
SAMPLES = {
    'skimage/data': (
        *('astronaut.png', 'camera.png', 'chelsea.png', 'coffee.png', 'coins.png'),
        *('motorcycle_left.png', 'motorcycle_right.png', 'retina.jpg', 'rocket.jpg'),
    ),
    'sklearn/datasets/images': ('china.jpg', 'flower.jpg'),
    'matplotlib/mpl-data/sample_data': ('grace_hopper.jpg',),
}
# A person, a still life, a machine outdoors; none has a twin among the others.
HELD_OUT = ('astronaut.png', 'coffee.png', 'rocket.jpg')
MAX_IMAGES = 300  # of the user's; more would only lengthen the preparation of so short a training
SIDE = 320  # shorter side that photographs are reduced to, so that loading them is quick
ITERS_BFLOAT16 = 2100  # in the time that the iterations of the config take in float32
MASKS = 64  # held-out pairs of image and mask, at least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Pretrain a small model and show what it learned')
    parser.add_argument('--data', help='folder of your own images, searched with its subfolders')
    parser.add_argument('--out', default='work_dirs/demo', help='folder for everything it writes')
    parser.add_argument('--iters', type=int, help='training iterations (see the config)')
    return parser.parse_args()


def say(text: str) -> None:
    print(f'==> {text}', flush=True)


def sample_photographs() -> tuple:
    """Files to train on and files to hold out."""
    training, held_out = [], []
    for folder, names in SAMPLES.items():
        package, _, below = folder.partition('/')
        spec = find_spec(package)
        root = Path(spec.origin).parent / below if spec else None
        for name in names:
            if root and (root / name).is_file():
                (held_out if name in HELD_OUT else training).append(root / name)
    if not training or not held_out:
        raise FileNotFoundError(
            'no sample photographs: install scikit-image, scikit-learn and matplotlib, or give '
            'your own with --data FOLDER'
        )
    return training, held_out


def own_photographs(folder: str) -> tuple:
    """Files of the user's, every tenth held out (at least one)."""
    from simmim_mm.datasets.image_folder import list_images

    files = list_images(folder)
    if len(files) < 2:
        raise FileNotFoundError(
            f'{folder} holds {len(files)} image: at least 2 are needed, one to hold out'
        )
    count = min(len(files), MAX_IMAGES)
    if count < len(files):
        say(f'Taking {count} of the {len(files)} images (simmim train takes them all)')
        files = [files[i * len(files) // count] for i in range(count)]
    held_out = files[:: max(2, min(10, len(files)))]
    return [file for file in files if file not in held_out], held_out


def prepare(files: list, folder: Path) -> int:
    """Store reduced copies, named by number; returns how many could be read."""
    from PIL import Image

    from simmim_mm.datasets import UnreadableImage
    from simmim_mm.datasets.transforms import LoadImage

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob('*.jpg'):
        old.unlink()
    load, done = LoadImage(), 0
    for file in files:
        try:
            pixels = load(dict(img_path=str(file)))['img']
        except UnreadableImage as error:
            print(f'warning: skipped {error}', file=sys.stderr)
            continue
        image = Image.fromarray(pixels.clip(0, 255).astype('uint8'))
        ratio = SIDE / min(image.size)
        if ratio < 1:
            image = image.resize([round(side * ratio) for side in image.size], Image.LANCZOS)
        image.save(folder / f'{done:04d}_{Path(file).stem}.jpg', quality=95)
        done += 1
    return done


def shortened(iters: int | None, warmup: int) -> dict:
    """Options for ``iters`` iterations of a config that warms up; None leaves its own number."""
    if not iters:
        return {}
    return {
        'train_cfg.max_iters': iters,
        'train_cfg.val_interval': iters,
        'param_scheduler.1.end': max(iters, warmup + 1),
        'default_hooks.checkpoint.interval': iters,
    }


def start(config: Path, work_dir: Path, options: dict, *arguments: str) -> subprocess.Popen:
    """Call tools/train.py as a user would, on one core for each process."""
    command = [sys.executable]
    if 'pytorch' in arguments:
        command += ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    command += [str(TOOLS / 'train.py'), str(config), '--work-dir', str(work_dir), *arguments]
    command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    print('    ' + shlex.join(command), flush=True)
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return subprocess.Popen(command, **pipes, text=True, errors='replace', env=environment)


def wait(processes: list, shown: str = 'Iter(', width: int | None = None) -> None:
    """Show the progress of the last one, and the end of the output of one that fails."""
    recent: deque = deque(maxlen=40)
    for line in processes[-1].stdout:
        recent.append(line)
        if shown in line:
            print('    ' + line.partition(' - INFO - ')[2].rstrip()[:width], flush=True)
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            sys.stderr.write(''.join(recent) + (output or '')[-3000:])
            sys.exit(process.returncode)


def pretrain(config: Path, out: Path, options: dict, batch: int) -> Path:
    """Pretrain with a process on each of two cores, or on a GPU; returns the last checkpoint.

    ``batch`` is that of the config, which the processes share.
    """
    import torch

    launcher, amp = 'none', ()
    if not torch.cuda.is_available():
        # A model this small keeps one core busy: on more, two processes share the batch.
        if len(os.sched_getaffinity(0)) > 1:
            launcher, options['train_dataloader.batch_size'] = 'pytorch', batch // 2
        if cpu_has_bfloat16():
            amp = ('--amp',)
    wait([start(config, out, options, '--launcher', launcher, *amp)])
    return Path((out / 'last_checkpoint').read_text().strip())


def evaluate(checkpoint: Path) -> dict:
    """Held-out masked L1 of the model and of the fills, with the masks of the validation."""
    from mmengine.runner import Runner

    from simmim_mm.evaluation.baselines import compare_with_baselines
    from simmim_mm.visualization.reconstructor import Reconstructor

    reconstructor = Reconstructor.from_checkpoint(checkpoint)
    cfg = reconstructor.config
    loader = Runner.build_dataloader(cfg.val_dataloader, seed=cfg.randomness.seed)
    return compare_with_baselines(reconstructor.model, loader)


def table(errors: dict) -> str:
    """Masked L1 and what it gains over the mean color."""
    reference = errors['mean color']
    lines = [f'{"held-out masked L1 (normalized pixels)":40}{"L1":>8}{"gain":>9}']
    for name, error in errors.items():
        lines.append(f'  {name:38}{error:8.4f}{1 - error / reference:9.1%}')
    return '\n'.join(lines)


def main(args: argparse.Namespace) -> None:
    start = time.time()
    out = Path(args.out)
    training, held_out = own_photographs(args.data) if args.data else sample_photographs()
    say(f'Preparing {len(training)} photographs, and {len(held_out)} to hold out, in {out}/photos')
    num_training = prepare(training, out / 'photos' / 'train')
    num_held_out = prepare(held_out, out / 'photos' / 'val')
    if not num_training or not num_held_out:
        raise FileNotFoundError(f'too few readable images in {args.data}')
    options = {
        'train_dataloader.dataset.dataset.data_root': out / 'photos' / 'train',
        'val_dataloader.dataset.dataset.data_root': out / 'photos' / 'val',
        'val_dataloader.dataset.times': -(-MASKS // num_held_out),
        **shortened(args.iters or (ITERS_BFLOAT16 if cpu_has_bfloat16() else None), warmup=50),
    }
    say('Pretraining (a line for every 50 iterations):')
    checkpoint = pretrain(CONFIG, out, options, batch=8)
    errors = evaluate(checkpoint)
    pictures = sorted((out / 'vis_data').glob('reconstruction_*.png'))
    logs = sorted(out.glob('*/*.log'), key=os.path.getmtime)
    program = os.path.relpath(Path(sys.executable).with_name('simmim'))
    print()
    print(table(errors))
    print(f"""
Where pixels are masked, the encoder sees the smooth fill: what the model gains
beyond it is what it learned.

checkpoint  {checkpoint}
log         {logs[-1]}
curves      tensorboard --logdir {out}
pictures    {pictures[-1]}
            (original | masked | reconstruction of held-out photographs)
more        {program} reconstruct {checkpoint} IMAGE_OR_FOLDER

{time.time() - start:.0f} seconds in all.""")


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
