"""What sparse SimMIM learns beside SimMIM, at equal epochs and at equal time::

    python benchmarks/sparse_study.py PHOTOS CAMVID CIFAR

CIFAR has ``train.npz`` and ``test.npz`` (``x``, ``y``) or what ``simmim cifar10`` writes; PHOTOS
images, and a ``manifest.csv`` with the columns ``file`` and ``is_animal``; CAMVID
``{train,val}/{images,labels}``, with 11 classes and 11 where there is no label.

SimMIM for some epochs; sparse SimMIM for as many, and for the time that SimMIM took. Two small
Swins: one of two stages at 32 pixels on CIFAR-10, probed by nearest neighbors and a linear layer on
its last map; one of three stages at 96 pixels on photographs, probed by the same (animal or not)
and by segmentation on CamVid, with the encoder frozen and fine-tuned. Each method has the mask
ratio and the decoder of its recipe. Times are those of the processor (``process_time`` of one
thread), so that other work on the machine does not count.

Results are written after each training, and the same command continues where it was interrupted;
with ``--setups``, ``--seeds`` and ``--arms`` several do parts of it.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from PIL import Image
from teacher import features, load, probe
from torch import Tensor, nn

from simmim_mm.datasets.image_folder import list_images
from simmim_mm.processor import cpu_has_bfloat16
from simmim_mm.registry import MODELS

STATS = dict(type='MIMDataPreprocessor', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
CLASSES = 11  # of CamVid; the same number stands for no label
SEG_SIZE = (256, 192)  # width and height of CamVid's images here: 480x360 reduced
RATIO = dict(dense=0.6, sparse=0.75)
ARMS = ('initial', 'dense', 'sparse, equal epochs', 'sparse, equal time')


class Setup(NamedTuple):
    """A small Swin and how it is pretrained; ``block`` is the side of a mask's block."""

    side: int
    block: int
    swin: dict
    decoder: dict
    batch: int
    epochs: int
    lr: float = 1e-3


SETUPS = dict(
    cifar10=Setup(
        32,
        4,
        dict(arch=dict(embed_dims=48, depths=[2, 2], num_heads=[2, 4]), patch_size=2,
             window_size=4, out_indices=(1,)),
        dict(decoder_embed_dim=96, decoder_depth=1, decoder_num_heads=4),
        batch=128, epochs=14,
    ),
    photos=Setup(
        96,
        16,
        dict(arch=dict(embed_dims=48, depths=[2, 2, 4], num_heads=[2, 4, 8]), patch_size=4,
             window_size=6, out_indices=(2,)),
        dict(decoder_embed_dim=192, decoder_depth=1, decoder_num_heads=6),
        batch=32, epochs=30,
    ),
)  # fmt: skip


def autocast():
    return torch.autocast('cpu', torch.bfloat16, enabled=bool(cpu_has_bfloat16()))


def normalize(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(STATS[name]).view(-1, 1, 1) for name in ('mean', 'std'))
    return (x.float() - mean) / std


def crops(images: list[Tensor], side: int) -> Tensor:
    """Random crops of 67 to 100% of the area, resized, flipped by half, normalized."""
    batch = []
    for image in images:
        height, width = image.shape[1:]
        area, stretch = np.random.uniform(0.67, 1), np.exp(np.random.uniform(-0.29, 0.29))
        h = min(height, round((height * width * area / stretch) ** 0.5))
        w = min(width, round((height * width * area * stretch) ** 0.5))
        top, left = np.random.randint(height - h + 1), np.random.randint(width - w + 1)
        crop = image[None, :, top : top + h, left : left + w].float()
        crop = F.interpolate(crop, (side, side), mode='bilinear', antialias=True)
        batch.append(crop.flip(3) if np.random.rand() < 0.5 else crop)
    return normalize(torch.cat(batch))


def masks(count: int, grid: int, ratio: float) -> list[BaseDataElement]:
    ranks = torch.rand(count, grid**2).argsort(1).argsort(1)
    chosen = ranks < round(ratio * grid**2)
    return [BaseDataElement(mask=mask) for mask in chosen.view(-1, grid, grid)]


def build(setup: Setup, method: str) -> Any:
    """A model with initial weights, as the method's recipe has it, but for the sizes."""
    sparse = method == 'sparse'
    model = MODELS.build(
        dict(
            type='MaskedImageModel',
            data_preprocessor=STATS,
            backbone=dict(
                setup.swin,
                type='MaskedSwin',
                img_size=setup.side,
                mask_mode='gather' if sparse else 'token',
            ),
            neck=dict(setup.decoder, type='TransformerDecoder')
            if sparse
            else dict(type='PixelShuffleDecoder'),
            head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
        )
    )
    model.init_weights()
    return model


class Cosine:
    """AdamW under a cosine with warm-up, over what is done of a budget, from 0 to 1."""

    def __init__(self, parameters, lr: float) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.lr = lr
        self.adamw = torch.optim.AdamW(
            self.parameters, weight_decay=0.05, betas=(0.9, 0.95), fused=True
        )

    def step(self, loss: Tensor, done: float) -> None:
        factor = min(1.0, done / 0.05 + 0.01) * 0.5 * (1 + np.cos(np.pi * done))
        for group in self.adamw.param_groups:
            group['lr'] = self.lr * factor
        self.adamw.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.adamw.step()


def pretrain(model: Any, method: str, images: list[Tensor], setup: Setup, seconds=None) -> dict:
    """Train for the epochs of the setup, or for ``seconds`` of the processor."""
    optimizer, history, step = Cosine(model.parameters(), setup.lr), [], 0
    steps, grid = setup.epochs * len(images) // setup.batch, setup.side // setup.block
    begun, order = time.process_time(), torch.empty(0)
    while (done := step / steps if seconds is None else
           (time.process_time() - begun) / seconds) < 1:  # fmt: skip
        if len(order) < setup.batch:
            order = torch.randperm(len(images))
        chosen, order = order[: setup.batch], order[setup.batch :]
        batch = crops([images[i] for i in chosen], setup.side)
        with autocast():
            loss = model.loss(batch, masks(len(batch), grid, RATIO[method]))['loss']
        optimizer.step(loss, done)
        history.append(loss.item())
        step += 1
    spent = time.process_time() - begun
    epochs = step * setup.batch / len(images)
    return dict(seconds=spent, epochs=epochs, loss=float(np.mean(history[-50:])))


def confusion(predicted: Tensor, labels: Tensor) -> Tensor:
    """``(CLASSES, CLASSES)`` counts, rows by label."""
    known = labels < CLASSES
    pairs = labels[known] * CLASSES + predicted[known]
    return torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES)


def segment(state: dict, setup: Setup, data: dict, steps: int, frozen: bool) -> float:
    """mIoU in percent on the validation images of a small head on all maps of the encoder.

    Each map is normalized, brought to the first one's size and joined with the others; a
    convolution of 3x3 to 96 channels, or none where the encoder is frozen, and one to the classes.
    """
    maps = tuple(range(len(setup.swin['arch']['depths'])))
    arch = dict(setup.swin, out_indices=maps)
    encoder: Any = MODELS.build(dict(arch, type='MaskedSwin', img_size=setup.side))
    encoder.load_state_dict(state, strict=False)  # only the norms of other maps are missing
    widths = sum(encoder.out_channels)
    layers = [nn.BatchNorm2d(widths)]
    if not frozen:
        layers += [nn.Conv2d(widths, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU()]
        widths = 96
    head = nn.Sequential(*layers, nn.Conv2d(widths, CLASSES, 1))
    encoder.requires_grad_(not frozen)

    def logits(x: Tensor) -> Tensor:
        with autocast():
            feats = encoder(normalize(x))
            size = feats[0].shape[-2:]
            feats = [F.interpolate(f.float(), size, mode='bilinear') for f in feats]
            out = head(torch.cat(feats, 1))
        return F.interpolate(out.float(), x.shape[-2:], mode='bilinear')

    optimizer = Cosine([*encoder.parameters(), *head.parameters()], 5e-3 if frozen else 1e-3)
    images, labels = data['train']
    for step in range(steps):
        encoder.train(not frozen)
        chosen = torch.randint(len(images), (4,))
        x, y = images[chosen], labels[chosen]
        if torch.rand(()) < 0.5:
            x, y = x.flip(3), y.flip(2)
        loss = F.cross_entropy(logits(x), y, ignore_index=CLASSES)
        optimizer.step(loss, step / steps)
    encoder.eval()
    head.eval()
    images, labels = data['val']
    with torch.no_grad():
        parts = zip(images.split(4), labels.split(4))
        counts = sum(confusion(logits(x).argmax(1), y) for x, y in parts)
    counts = torch.as_tensor(counts)
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return 100 * float((counts.diag() / union.clamp(min=1))[counts.sum(1) > 0].mean())


def load_photos(folder: Path) -> tuple[list[Tensor], Tensor]:
    """Photographs of a shorter side of 128, uint8, and whether each shows an animal."""
    with open(folder / 'manifest.csv') as file:
        animal = {Path(row['file']).name: int(row['is_animal']) for row in csv.DictReader(file)}
    images, labels = [], []
    for path in sorted(map(Path, list_images(str(folder)))):
        image = Image.open(path).convert('RGB')
        ratio = 128 / min(image.size)
        image = image.resize([round(side * ratio) for side in image.size], Image.LANCZOS)
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        labels.append(animal[path.name])
    return images, torch.tensor(labels)


def load_camvid(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Images ``(N, 3, H, W)`` uint8 and label maps ``(N, H, W)`` of both splits."""

    def read(path: Path, mode: str, method: Image.Resampling) -> Tensor:
        return torch.from_numpy(np.array(Image.open(path).convert(mode).resize(SEG_SIZE, method)))

    data = {}
    for split in ('train', 'val'):
        images = sorted((folder / split / 'images').iterdir())
        labels = sorted((folder / split / 'labels').iterdir())
        if [p.stem for p in images] != [p.stem for p in labels]:
            raise FileNotFoundError(f'{folder / split}: images and labels differ in their names')
        x = torch.stack([read(p, 'RGB', Image.Resampling.BOX) for p in images])
        y = torch.stack([read(p, 'L', Image.Resampling.NEAREST) for p in labels])
        data[split] = x.permute(0, 3, 1, 2), y.long()
    return data


def whole(images: list[Tensor], side: int) -> Tensor:
    """Each image's center, ``(N, 3, side, side)`` uint8."""
    squares = []
    for image in images:
        n = min(image.shape[1:])
        top, left = (image.shape[1] - n) // 2, (image.shape[2] - n) // 2
        square = image[None, :, top : top + n, left : left + n].float()
        squares.append(F.interpolate(square, (side, side), mode='bilinear', antialias=True))
    return torch.cat(squares).round().byte()


def table(name: str, folder: Path) -> str:
    """Results of the trainings that are finished, seeds side by side; markdown."""
    rows = {
        arm: [json.loads(file.read_text()) for file in sorted(folder.glob(f'{name}_{arm}_*.json'))]
        for arm in ARMS
    }
    costs = ('epochs', 'seconds', 'loss')
    keys = [k for k in next(filter(None, rows.values()))[0] if k not in costs]
    head = ('epochs', 's of pretraining', 'loss', *keys)
    lines = [f'\n| {name} | {" | ".join(head)} |', '|' + '---|' * (1 + len(head))]
    digits = dict(dict.fromkeys(keys, 1), epochs=0, seconds=0, loss=3)
    for arm, results in rows.items():
        cells = [
            ' / '.join(f'{r[k]:.{digits[k]}f}' for r in results if k in r) for k in (*costs, *keys)
        ]
        lines.append(f'| {arm} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('photos', type=Path)
    parser.add_argument('camvid', type=Path)
    parser.add_argument('cifar', type=Path)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/sparse_study'))
    parser.add_argument('--setups', nargs='+', default=list(SETUPS), choices=list(SETUPS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--arms', nargs='+', default=ARMS, choices=ARMS)
    parser.add_argument('--epochs', type=int, help='instead of those of each setup')
    parser.add_argument('--segmentation-steps', type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('WARNING')
    args.out.mkdir(parents=True, exist_ok=True)
    photos, animal = load_photos(args.photos)
    half = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).chunk(2)
    camvid = load_camvid(args.camvid)
    x, y = load(args.cifar, 'train')

    for name in args.setups:
        setup = SETUPS[name]
        if args.epochs:
            setup = setup._replace(epochs=args.epochs)
        if name == 'cifar10':
            images, splits = list(x), ((x, y), load(args.cifar, 'test'))
        else:
            images, squares = photos, whole(photos, setup.side)
            splits = tuple((squares[part], animal[part]) for part in half)
        for seed in args.seeds:
            for arm in args.arms:
                file = args.out / f'{name}_{arm}_{seed}.json'
                if file.is_file():
                    continue
                torch.manual_seed(seed)
                np.random.seed(seed)
                method = 'sparse' if 'sparse' in arm else 'dense'
                model, result = build(setup, method), {}
                if arm != 'initial':
                    budget = None
                    if arm == 'sparse, equal time':
                        dense = json.loads((args.out / f'{name}_dense_{seed}.json').read_text())
                        budget = dense['seconds']
                    result = pretrain(model.train(), method, images, setup, budget)
                bank, queries = (features(model.backbone, x) for x, _ in splits)
                result.update(probe(bank, queries, *(y for _, y in splits)))
                if name == 'photos':
                    state = model.backbone.state_dict()
                    for kind, frozen in (('mIoU, frozen', True), ('mIoU, fine-tuned', False)):
                        torch.manual_seed(seed)
                        result[kind] = segment(
                            state, setup, camvid, args.segmentation_steps, frozen
                        )
                file.write_text(json.dumps(result, indent=1))
                print(name, arm, seed, result, flush=True)
        print(table(name, args.out), flush=True)


if __name__ == '__main__':
    main()
