#!/usr/bin/env python
"""Pretrain, then detect, segment and classify from that checkpoint: python tools/demo_transfer.py.

Takes about twelve minutes on two CPU cores. It generates images of textured shapes, pretrains a
small Swin on the unlabeled ones, and trains a detector, a segmenter and a classifier on the
labeled ones, each from the pretrained backbone and, for as many iterations, from scratch.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from simmim_mm.cli.common import renew_options, run_tool

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'demo'
SIZE = 96  # of the images, in pixels
ZOOM = 3  # of the pictures, so that names of classes can be read
PICTURES = 5


class Task(NamedTuple):
    """A training on labels.

    Attributes:
        name: As in ``configs/demo/transfer_<name>.py``.
        figures: Name in the table, and key and unit of each figure that the validation logs.
        data_root: Below the folder of the data.
    """

    name: str
    figures: tuple
    data_root: str


TASKS = (
    Task(
        'detection',
        (('box AP', 'coco/bbox_mAP', 100), ('mask AP', 'coco/segm_mAP', 100)),
        '',
    ),
    Task('segmentation', (('mIoU', 'mIoU', 1),), ''),
    Task('classification', (('accuracy', 'accuracy/top1', 1),), 'classification'),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Pretrain on generated images, then train a detector, a segmenter and a '
        'classifier from that checkpoint and from scratch, and compare'
    )
    parser.add_argument(
        '--out', default='work_dirs/demo_transfer', help='folder for everything (%(default)s)'
    )
    parser.add_argument('--iters', type=int, help='of every training (see configs/demo)')
    parser.add_argument(
        '--labeled', type=int, default=300, help='images to train on, per task (%(default)s)'
    )
    parser.add_argument(
        '--unlabeled', type=int, default=1000, help='images to pretrain on (%(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=50, help='images to validate on, per task (%(default)s)'
    )
    renamed = {'--labelled': '--labeled', '--unlabelled': '--unlabeled'}  # codespell:ignore
    return parser.parse_args(renew_options('demo_transfer.py', sys.argv[1:], renamed))


def say(text: str) -> None:
    print(f'==> {text}', flush=True)


def start(config: Path, work_dir: Path, options: dict, *arguments: str, processes: int = 1):
    """Call tools/train.py as a user would."""
    command = [sys.executable]
    if processes > 1:
        command += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        arguments += ('--launcher', 'pytorch')
    command += [str(TOOLS / 'train.py'), str(config), '--work-dir', str(work_dir), *arguments]
    command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    print('    ' + shlex.join(command), flush=True)
    # One core for each: two at a time.
    environment = dict(os.environ, OMP_NUM_THREADS='1') if (os.cpu_count() or 1) > 1 else None
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        env=environment,
    )


def wait(processes: list) -> None:
    """Show the progress of the last one, and the end of the output of one that fails."""
    recent: deque = deque(maxlen=40)
    for line in processes[-1].stdout:
        recent.append(line)
        if 'Iter(train)' in line:
            print('    ' + line.partition(' - INFO - ')[2].rstrip()[:110], flush=True)
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            sys.stderr.write(''.join(recent) + (output or '')[-3000:])
            sys.exit(process.returncode)


def pretrain(out: Path, iters: int | None) -> Path:
    options = {'train_dataloader.dataset.dataset.data_root': out / 'data' / 'unlabeled'}
    if iters:
        options.update(
            {
                'train_cfg.max_iters': iters,
                'param_scheduler.1.end': max(iters, 51),
                'default_hooks.checkpoint.interval': iters,
            }
        )
    import torch

    processes = 1
    if (os.cpu_count() or 1) > 1 and not torch.cuda.is_available():
        processes, options['train_dataloader.batch_size'] = 2, 4
    say('Pretraining on the unlabeled images')
    work_dir = out / 'pretraining'
    wait([start(CONFIGS / 'transfer_pretrain.py', work_dir, options, processes=processes)])
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def transfer(task: Task, out: Path, checkpoint: Path, iters: int | None) -> dict:
    """Train from scratch and pretrained, side by side; returns the figures of both."""
    root = out / 'data' / task.data_root
    options = {
        f'{loader}.dataset.data_root': f'{root}/'
        for loader in ('train_dataloader', 'val_dataloader')
    }
    if task.name == 'detection':
        options['val_evaluator.ann_file'] = root / 'annotations' / 'instances_val.json'
    if iters:
        options.update(
            {
                'train_cfg.max_iters': iters,
                'train_cfg.val_interval': iters,
                'param_scheduler.1.end': max(iters, 21),
                'default_hooks.checkpoint.interval': iters,
            }
        )
    say(f'{task.name.capitalize()}, from scratch and pretrained (shown), at the same time')
    config = CONFIGS / f'transfer_{task.name}.py'
    arguments = dict(scratch=(), pretrained=('--pretrained', str(checkpoint)))
    folders = {kind: out / task.name / kind for kind in arguments}
    wait([start(config, folders[kind], options, *more) for kind, more in arguments.items()])
    return {kind: read_figures(folder, task) for kind, folder in folders.items()}


def read_figures(work_dir: Path, task: Task) -> list:
    """The figures of the last validation."""
    log = sorted(work_dir.glob('*/vis_data/scalars.json'), key=os.path.getmtime)[-1]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    last = next(r for r in reversed(records) if task.figures[0][1] in r)
    return [factor * last[key] for _, key, factor in task.figures]


def table(figures: dict) -> str:
    lines = [f'{"on images not trained on":32}{"scratch":>10}{"pretrained":>12}']
    for task in TASKS:
        scratch, pretrained = figures[task.name]['scratch'], figures[task.name]['pretrained']
        for (name, _, _), a, b in zip(task.figures, scratch, pretrained):
            lines.append(f'  {task.name + ", " + name:30}{a:10.1f}{b:12.1f}')
    return '\n'.join(lines)


def draw(out: Path) -> Path:
    """Held-out images, and what detector, segmenter and classifier say of them."""
    import cv2

    from simmim_mm.visualization.grid import compose

    folder = out / 'pictures'
    folder.mkdir(exist_ok=True)

    def enlarged(files: list, prefix: str) -> list:
        paths = []
        for i, file in enumerate(files):
            paths.append(str(folder / f'{prefix}_{i}.png'))
            image = cv2.imread(str(file))
            cv2.imwrite(paths[-1], cv2.resize(image, None, fx=ZOOM, fy=ZOOM))
        return paths

    images = enlarged(sorted((out / 'data/images/val').glob('*.png'))[:PICTURES], 'image')
    single = sorted((out / 'data/classification/val').glob('*/*.png'))
    single = enlarged(single[:: max(1, len(single) // PICTURES)][:PICTURES], 'single')
    columns = {
        'image': images,
        'detector: boxes and masks': draw_instances(images, *trained(out, 'detection')),
        'segmenter: label map': draw_maps(images, *trained(out, 'segmentation')),
        'classifier: single shapes': draw_classes(single, *trained(out, 'classification')),
    }
    side = (ZOOM * SIZE, ZOOM * SIZE)
    rows = [
        [cv2.cvtColor(cv2.resize(cv2.imread(path), side), cv2.COLOR_BGR2RGB) for path in row]
        for row in zip(*columns.values())
    ]
    path = out / 'predictions.png'
    note = 'Images that were not trained on; the models that started from the pretrained backbone.'
    compose(rows, list(columns), note).save(path)
    return path


def trained(out: Path, task: str) -> tuple:
    """Config and checkpoint of the training from the pretrained backbone."""
    work_dir = out / task / 'pretrained'
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    return str(next(work_dir.glob('transfer_*.py'))), checkpoint


def draw_instances(images: list, config: str, checkpoint: str) -> list:
    from mmdet.apis import inference_detector, init_detector
    from mmdet.visualization import DetLocalVisualizer

    model = init_detector(config, checkpoint, device='cpu')
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = model.dataset_meta
    return [_drawn(visualizer, path, inference_detector(model, path), 'boxes') for path in images]


def draw_maps(images: list, config: str, checkpoint: str) -> list:
    from mmseg.apis import inference_model, init_model
    from mmseg.visualization import SegLocalVisualizer

    model = init_model(config, checkpoint, device='cpu')
    visualizer = SegLocalVisualizer(alpha=0.6)
    visualizer.dataset_meta = model.dataset_meta
    return [_drawn(visualizer, path, inference_model(model, path), 'map') for path in images]


def _drawn(visualizer, path: str, result, suffix: str) -> str:
    import mmcv

    out_file = path.replace('.png', f'_{suffix}.png')
    image = mmcv.imread(path, channel_order='rgb')
    visualizer.add_datasample(suffix, image, data_sample=result, draw_gt=False, out_file=out_file)
    return out_file


def draw_classes(images: list, config: str, checkpoint: str) -> list:
    from mmengine.registry import init_default_scope
    from mmpretrain.apis import ImageClassificationInferencer

    init_default_scope('mmpretrain')  # the others' functions do so themselves
    inferencer = ImageClassificationInferencer(config, pretrained=checkpoint, device='cpu')
    folder = Path(images[0]).parent / 'classes'
    inferencer(images, batch_size=len(images), show_dir=str(folder))
    return [str(folder / Path(path).name) for path in images]


def main(args: argparse.Namespace) -> None:
    from simmim_mm.experiments.shapes import write_shapes

    begin = time.time()
    out = Path(args.out)
    say(f'Generating {args.labeled} labeled and {args.unlabeled} unlabeled images in {out}/data')
    write_shapes(out / 'data', args.labeled, args.val, args.unlabeled, SIZE)
    checkpoint = pretrain(out, args.iters)
    figures = {task.name: transfer(task, out, checkpoint, args.iters) for task in TASKS}
    pictures = draw(out)
    print()
    print(table(figures))
    print(f"""
checkpoint  {checkpoint}
trainings   {out}/<task>/{{scratch,pretrained}}
pictures    {pictures}

One run of each, on {args.val} images: differences of some points are chance, and a pretraining of
two minutes is not expected to bring much. simmim compare repeats with several seeds.
{time.time() - begin:.0f} seconds in all.""")


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
