#!/usr/bin/env python
"""Pretrain, then detect, segment and classify from that checkpoint: python tools/demo_transfer.py.

Takes about twelve minutes on two CPU cores. It generates images of textured shapes, pretrains a
small Swin on the unlabeled ones, and trains a detector, a segmenter and a classifier on the
labeled ones, each from the pretrained backbone and, for as many iterations, from scratch.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from demo import TOOLS, pretrain, say, shortened, start, wait

from simmim_mm.cli.common import renew_options, run_tool

CONFIGS = TOOLS.parent / 'configs' / 'demo'
SIZE = 96  # of the images, in pixels
ZOOM = 3  # of the pictures, so that names of classes can be read
PICTURES = 5


class Task(NamedTuple):
    """A training on labels, with the config ``configs/demo/transfer_<name>.py``."""

    name: str
    data_root: str  # below the folder of the data
    figures: tuple  # name in the table, and key and unit of each that the validation logs


TASKS = (
    Task('detection', '', (('box AP', 'coco/bbox_mAP', 100), ('mask AP', 'coco/segm_mAP', 100))),
    Task('segmentation', '', (('mIoU', 'mIoU', 1),)),
    Task('classification', 'classification', (('accuracy', 'accuracy/top1', 1),)),
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


def transfer(task: Task, out: Path, checkpoint: Path, iters: int | None) -> dict:
    """Train from scratch and pretrained, side by side; returns the figures of both."""
    root = out / 'data' / task.data_root
    options = {
        f'{loader}.dataset.data_root': f'{root}/'
        for loader in ('train_dataloader', 'val_dataloader')
    }
    options.update(shortened(iters, warmup=20))
    if task.name == 'detection':
        options['val_evaluator.ann_file'] = root / 'annotations' / 'instances_val.json'
    say(f'{task.name.capitalize()}, from scratch and pretrained (shown), at the same time')
    config = CONFIGS / f'transfer_{task.name}.py'
    arguments = dict(scratch=(), pretrained=('--pretrained', str(checkpoint)))
    folders = {kind: out / task.name / kind for kind in arguments}
    processes = [start(config, folders[kind], options, *more) for kind, more in arguments.items()]
    wait(processes, 'Iter(train)', width=110)
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
        'detector: boxes and masks': predictions(out, 'detection', images),
        'segmenter: label map': predictions(out, 'segmentation', images),
        'classifier: single shapes': predictions(out, 'classification', single),
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


def predictions(out: Path, task: str, images: list) -> list:
    """Pictures of what the training from the pretrained backbone predicts."""
    from mmdet.apis import DetInferencer
    from mmengine.registry import init_default_scope
    from mmpretrain.apis import ImageClassificationInferencer
    from mmseg.apis import MMSegInferencer

    work_dir, folder = out / task / 'pretrained', out / 'pictures' / task
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    config = str(next(work_dir.glob('transfer_*.py')))
    if task == 'detection':
        DetInferencer(config, checkpoint, 'cpu')(images, out_dir=str(folder), no_save_pred=True)
    elif task == 'segmentation':
        segment = MMSegInferencer(config, checkpoint, device='cpu')
        segment(images, out_dir=str(folder), opacity=0.6)
    else:
        init_default_scope('mmpretrain')  # the others do so themselves
        classify = ImageClassificationInferencer(config, checkpoint, 'cpu')
        (folder / 'vis').mkdir(parents=True, exist_ok=True)
        classify(images, batch_size=len(images), show_dir=str(folder / 'vis'))
    return [str(folder / 'vis' / Path(path).name) for path in images]


def main(args: argparse.Namespace) -> None:
    from simmim_mm.experiments.shapes import write_shapes

    begin = time.time()
    out = Path(args.out)
    say(f'Generating {args.labeled} labeled and {args.unlabeled} unlabeled images in {out}/data')
    write_shapes(out / 'data', args.labeled, args.val, args.unlabeled, SIZE)
    say('Pretraining on the unlabeled images')
    options = {'train_dataloader.dataset.dataset.data_root': out / 'data' / 'unlabeled'}
    options.update(shortened(args.iters, warmup=50))
    checkpoint = pretrain(CONFIGS / 'transfer_pretrain.py', out / 'pretraining', options)
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
