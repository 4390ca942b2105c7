"""Whether the weights depend on how the images are loaded: every method, in small.

    python tests/faults/same_bits.py

trains each method once with every number of workers and start method, prints a table of the
weights' digits, and ends with code 1 where they differ.
"""

import hashlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

sys.path.append(str(Path(__file__).parents[1]))
from golden_curves import DECODER, METHODS, small_config, swin, vit
from tiny_pretraining import write_images

from simmim_mm.engine.stop_request import StopRequest
from simmim_mm.engine.training import train
from simmim_mm.registry import MODELS

TEACHER = 'Frozen teacher'
METHODS = METHODS | {
    'Sparse SimMIM': (
        'sparse_simmim/sparse-simmim_swin-micro-w6_1xb64-coslr-100e_folder-192px',
        *(8, swin, DECODER),
    ),
    'Own average as teacher': (
        'distill/ema_swin-micro-w6_1xb64-coslr-100e_folder-96px',
        *(8, swin, {}),
    ),
    TEACHER: ('distill/distill_vit-micro-p8_1xb64-coslr-300e_folder-96px', 8, vit, DECODER),
}
LOADING = [(0, None)] + [(n, start) for n in (1, 3) for start in ('fork', 'spawn', 'forkserver')]


def trained(
    method: str, folder: Path, workers: int = 0, start: str | None = None, seed: int = 0,
    deterministic: bool = False,
) -> str:  # fmt: skip
    """Digits of the weights and the optimizer after two epochs of two steps.

    Args:
        folder: Gets the images, and a run each.
        start: How the workers' processes begin: fork, spawn or forkserver.
    """
    if not (folder / 'images').exists():
        write_images(folder / 'images', 8)
    cfg = small_config(*METHODS[method])
    if method == TEACHER:
        cfg.model.teacher.checkpoint = str(_teacher(folder))
    loader = cfg.train_dataloader
    loader.update(
        batch_size=4, num_workers=workers, persistent_workers=workers > 0, pin_memory=False
    )
    if start:
        loader.multiprocessing_context = start
    loader.dataset = dict(
        type='ImageDataset', data_root=str(folder / 'images'), pipeline=loader.dataset.pipeline
    )
    work_dir = folder / f'{len(list(folder.iterdir()))}'
    cfg.merge_from_dict(
        dict(
            work_dir=str(work_dir), experiment_name=work_dir.name, launcher='none',
            val_dataloader=None, val_cfg=None, val_evaluator=None, param_scheduler=None,
            train_cfg=dict(type='EpochTrainLoop', max_epochs=2), log_level='ERROR',
            default_hooks=dict(checkpoint=dict(interval=2)), visualizer=dict(vis_backends=[]),
            randomness=dict(seed=seed, deterministic=deterministic),
        )
    )  # fmt: skip
    cfg.custom_hooks = [x for x in cfg.custom_hooks if x.type != 'ReconstructionHook']
    with StopRequest() as request:
        train(cfg, [], request)
    return digits(torch.load(work_dir / 'epoch_2.pth', weights_only=False))


def digits(checkpoint: dict) -> str:
    """A few digits that stand for every bit of the weights and of the optimizer's state."""
    content = hashlib.sha256()
    moments = [
        value for _, state in sorted(checkpoint['optimizer']['state'].items())
        for value in state.values()
    ]  # fmt: skip
    for value in [*checkpoint['state_dict'].values(), *moments]:
        content.update(torch.as_tensor(value).cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return content.hexdigest()[:12]


def _teacher(folder: Path) -> Path:
    path = folder / 'teacher.pth'
    if not path.exists():
        cfg = small_config(*METHODS['SimMIM, ViT'])
        init_default_scope('simmim_mm')
        torch.manual_seed(1)
        weights = MODELS.build(cfg.model).state_dict()
        torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=weights), path)
    return path


def main() -> None:
    different, began = 0, time.monotonic()
    multiprocessing.set_forkserver_preload(['simmim_mm.datasets'])  # else each worker imports it
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            found = [trained(method, Path(folder), *loading) for loading in LOADING]
            different += len(set(found)) > 1
            print(f'{method:24} {len(found)} ways to load:', *sorted(set(found)), flush=True)
    print(f'{len(METHODS)} methods, {different} that differ, {time.monotonic() - began:.0f} s')
    sys.exit(different > 0)


if __name__ == '__main__':
    main()
