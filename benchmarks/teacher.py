"""What a teacher gives a small student, at equal time: ``python benchmarks/teacher.py DATA``.

DATA is what ``simmim cifar10`` writes, or a folder with ``train.npz`` and ``test.npz`` (``x``,
``y``).

One half of the training images, A, with labels, trains the teacher: a small ResNet, supervised, as
a stand-in for public weights. The other half, B, without labels, pretrains the student, a ViT of
0.5M parameters: by MAE alone, by the teacher alone (whole images), by both. Then labels of B: k
nearest neighbors, a linear layer on frozen features, fine-tuning; accuracy on the test images.
"From scratch" fine-tunes for the time of pretraining and fine-tuning together. Times are those of
the processor (``process_time`` of one thread), so that other work on the machine does not count;
the teacher's own training does not count either, its forward in the student's training does.

Results are written after each training, and the same command continues where it was interrupted;
with ``--seeds`` and ``--arms`` several do parts of it.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import nn

from simmim_mm.evaluation.knn import weighted_knn
from simmim_mm.processor import cpu_has_bfloat16
from simmim_mm.registry import MODELS

SIDE, PATCH, RATIO, BATCH = 32, 4, 0.75, 128
VIT = dict(embed_dims=96, num_layers=4, num_heads=4, feedforward_channels=384)
STUDENT = dict(
    type='MaskedViT', arch=VIT, img_size=SIDE, patch_size=PATCH, mask_mode='gather',
    frozen_pos_embed=True,
)  # fmt: skip
RESNET = dict(
    type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16, out_indices=(3,)
)
STATS = dict(type='MIMDataPreprocessor', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
ARMS = ('scratch', 'mim', 'teacher', 'both', 'ema')  # the last is left out unless asked for


def load(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images ``(N, 3, 32, 32)`` uint8, and labels."""
    if (folder / f'{split}.npz').is_file():
        data = np.load(folder / f'{split}.npz')
        return torch.from_numpy(data['x']).permute(0, 3, 1, 2), torch.from_numpy(data['y'])
    files = sorted((folder / split).glob('*/*.png'))
    names = sorted({file.parent.name for file in files})
    x = np.stack([np.asarray(Image.open(file).convert('RGB')) for file in files])
    y = torch.tensor([names.index(file.parent.name) for file in files])
    return torch.from_numpy(x).permute(0, 3, 1, 2), y


def normalize(x: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(STATS[name]).view(-1, 1, 1) for name in ('mean', 'std'))
    return (x.float() - mean) / std


def augment(x: torch.Tensor) -> torch.Tensor:
    """A random crop of the image padded by 4 pixels, and a flip."""
    x = F.pad(normalize(x), (4, 4, 4, 4), mode='reflect')
    rows, cols = torch.randint(9, (2, len(x)))
    crops = [image[:, r : r + SIDE, c : c + SIDE] for image, r, c in zip(x, rows, cols)]
    return torch.stack([c.flip(2) if torch.rand(()) < 0.5 else c for c in crops])


def train(parameters, data, loss_of, seconds: float, lr: float) -> int:
    """AdamW with a cosine over the time; returns the number of steps."""
    parameters = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05, betas=(0.9, 0.95))
    begun, steps = time.process_time(), 0
    while (done := (time.process_time() - begun) / seconds) < 1:
        warm = min(1.0, done / 0.05 + 0.01)
        optimizer.param_groups[0]['lr'] = lr * warm * 0.5 * (1 + np.cos(np.pi * done))
        chosen = torch.randint(len(data[0]), (BATCH,))
        with torch.autocast('cpu', torch.bfloat16, enabled=bool(cpu_has_bfloat16())):
            loss = loss_of(augment(data[0][chosen]), data[1][chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        steps += 1
    return steps


def pooled(backbone: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast('cpu', torch.bfloat16, enabled=bool(cpu_has_bfloat16())):
        return backbone(x)[-1].float().mean((2, 3))


@torch.no_grad()
def features(backbone: nn.Module, x: torch.Tensor) -> torch.Tensor:
    backbone.eval()
    return torch.cat([pooled(backbone, normalize(part)) for part in x.split(256)])


def classify(backbone, data, test, seconds: float, lr: float = 1e-3) -> tuple[float, int]:
    """Accuracy in percent on the test images after training all weights; and the steps."""
    head = nn.Linear(pooled(backbone, normalize(test[0][:1])).shape[1], 10)
    backbone.train()
    parameters = [*backbone.parameters(), *head.parameters()]
    steps = train(
        parameters, data, lambda x, y: F.cross_entropy(head(pooled(backbone, x)), y), seconds, lr
    )
    right = head(features(backbone, test[0])).argmax(1) == test[1]
    return 100 * right.float().mean().item(), steps


def probe(backbone, data, test) -> dict[str, float]:
    """Accuracies in percent of what is trained on frozen features, or not at all."""
    bank, queries = features(backbone, data[0]), features(backbone, test[0])
    votes = weighted_knn(bank, data[1], queries, k=20)
    center, scale = bank.mean(0), bank.std(0) + 1e-6
    bank, queries = (bank - center) / scale, (queries - center) / scale
    head = nn.Linear(bank.shape[1], 10)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        decay = 1e-3 * head.weight.square().sum()
        loss = F.cross_entropy(head(bank), data[1]) + decay
        loss.backward()
        return loss

    optimizer.step(closure)
    accuracy = {'knn': votes, 'linear': head(queries).argmax(1)}
    return {k: 100 * (v == test[1]).float().mean().item() for k, v in accuracy.items()}


def masks(count: int) -> list[BaseDataElement]:
    side = SIDE // PATCH
    keep = round((1 - RATIO) * side * side)
    ranks = torch.rand(count, side * side).argsort(1).argsort(1)
    return [BaseDataElement(mask=m) for m in (ranks >= keep).view(-1, side, side)]


def build(arm: str, teacher: Path) -> nn.Module:
    pixels = dict(
        neck=dict(
            type='TransformerDecoder', decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
        target=[dict(type='NormPix')],
    )
    frozen = dict(type='FeatureTeacher', backbone=RESNET, checkpoint=str(teacher))
    added = {
        'mim': None,
        'teacher': dict(frozen, whole_image=True),
        'both': frozen,
        'ema': dict(type='EMATarget', loss='smooth_l1'),
    }[arm]
    parts = dict(neck=None, head=None) if arm == 'teacher' else pixels
    model = MODELS.build(
        dict(
            type='MaskedImageModel', backbone=dict(STUDENT), data_preprocessor=STATS,
            teacher=added, **parts,
        )
    )  # fmt: skip
    model.init_weights()
    return model


def write(folder: Path, arm: str, seed: int, result: dict) -> None:
    (folder / f'{arm}_{seed}.json').write_text(json.dumps(result, indent=1))
    print(arm, seed, result, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/teacher'))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--arms', nargs='+', default=ARMS[:-1], choices=ARMS)
    parser.add_argument('--teacher-seconds', type=float, default=120)
    parser.add_argument('--pretrain-seconds', type=float, default=40)
    parser.add_argument('--finetune-seconds', type=float, default=25)
    args = parser.parse_args()
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('WARNING')
    args.out.mkdir(parents=True, exist_ok=True)
    x, y = load(args.data, 'train')
    test = load(args.data, 'test')
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    a, b = ((x[part], y[part]) for part in order.chunk(2))

    teacher = args.out / 'teacher.pth'
    if not teacher.is_file():
        torch.manual_seed(0)
        network = MODELS.build(RESNET)
        accuracy, steps = classify(network, a, test, args.teacher_seconds, lr=5e-3)
        weights = {f'backbone.{k}': v for k, v in network.state_dict().items()}
        torch.save(dict(state_dict=weights), teacher)
        result = dict(finetune=accuracy, finetune_steps=steps, **probe(network, b, test))
        write(args.out, 'teacher itself', 0, result)
    for seed in args.seeds:
        for arm in args.arms:
            if (args.out / f'{arm}_{seed}.json').is_file():
                continue
            torch.manual_seed(seed)
            result, seconds = {}, args.finetune_seconds
            if arm == 'scratch':
                backbone = MODELS.build(dict(STUDENT))
                backbone.init_weights()
                seconds += args.pretrain_seconds
            else:
                model = build(arm, teacher).train()
                history: list[dict] = []

                def loss_of(images, labels, model=model, history=history):
                    loss, logged = model.parse_losses(model.loss(images, masks(len(images))))
                    history.append({k: float(v) for k, v in logged.items()})
                    return loss

                begun = time.perf_counter(), time.process_time()
                steps = train(model.parameters(), b, loss_of, args.pretrain_seconds, 2e-3)
                backbone = model.backbone
                tail = {k: float(np.mean([h[k] for h in history[-50:]])) for k in history[0]}
                result = dict(pretrain_steps=steps, last=tail)
                spent = [now - then for now, then in
                         zip((time.perf_counter(), time.process_time()), begun)]  # fmt: skip
                result['wall_per_cpu_second'] = spent[0] / spent[1]
            result.update(probe(backbone, b, test))
            accuracy, steps = classify(backbone, b, test, seconds)
            write(args.out, arm, seed, dict(result, finetune=accuracy, finetune_steps=steps))

    print('\n| start | kNN | linear | fine-tuned | pretraining steps |\n|---|---|---|---|---|')
    for arm in ('teacher itself', *args.arms):
        rows = [json.loads(file.read_text()) for file in sorted(args.out.glob(f'{arm}_*.json'))]
        cells = [' / '.join(f'{r[k]:.1f}' for r in rows) for k in ('knn', 'linear', 'finetune')]
        steps = ' / '.join(str(r.get('pretrain_steps', '')) for r in rows)
        print(f'| {arm} | {" | ".join(cells)} | {steps} |')


if __name__ == '__main__':
    main()
