"""A training on shards, killed again and again: which images were given, and in which order.

    python tests/faults/killed_on_shards.py --kills 20

Trains on 403 images in uneven shards, for six epochs, once as it is; then killed with SIGKILL at
random moments, and continued each time with another number of ranks (gloo) and of workers. A hook
notes the images of every iteration, with digits of the cropped pixels and of the mask. Each start
has to go on exactly where the checkpoint is that it resumes from, with the samples of the run that
was not interrupted, in their order. With one rank throughout, the weights are to be the same to the
last bit. Ends with code 1 where something differs, and keeps the folder.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from harness import INJECT, ROOT, differences
from preloaded_python import preloaded
from tiny_pretraining import CONFIG, write_images

from simmim_mm.curation import shard_folder

IMAGES = 403
CONFIG += """
custom_imports = dict(imports=['simmim_mm', 'noted'], allow_failed_imports=False)
custom_hooks = [dict(type='ReproducibilityHook'), dict(type='NotedSamples')]
train_cfg.update(max_epochs=6)
train_dataloader['dataset'].update(data_root='shards')
train_dataloader['sampler'].update(shuffle_shards=3)
default_hooks['checkpoint'] = dict(by_epoch=False, interval=3, max_keep_ckpts=2)
val_dataloader = val_cfg = val_evaluator = None
env_cfg = dict(dist_cfg=dict(backend='gloo'))
"""
NOTED = """
import json, numpy, os, zlib
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from simmim_mm.registry import HOOKS

@HOOKS.register_module()
class NotedSamples(Hook):
    priority = 'VERY_HIGH'  # before a checkpoint is written

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        crc = lambda values: zlib.crc32(numpy.asarray(values).tobytes())
        samples = [
            [sample.img_path, crc(pixels), crc(sample.mask)]
            for pixels, sample in zip(data_batch['inputs'], data_batch['data_samples'])
        ]
        with open(os.environ['NOTES'], 'a') as file:
            line = dict(rank=get_rank(), epoch=runner.epoch, iter=runner.iter + 1, samples=samples)
            print(json.dumps(line), file=file)
"""
LAYOUTS = [(1, 0), (2, 1), (1, 3), (3, 0), (2, 2), (1, 1)]  # ranks, workers of each


class Start:
    """One start of the training, which may be killed."""

    def __init__(self, python: str, folder: Path, ranks: int, workers: int, fault: dict) -> None:
        self.notes, self.ranks = folder / f'notes-{len(list(folder.glob("notes-*"))):03}', ranks
        self.notes.touch()
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        command = [python, INJECT, 'train', 'tiny.py', '--work-dir', 'work', '--resume']
        command += ['--launcher', 'pytorch'] if ranks > 1 else []
        command += ['--cfg-options', f'train_dataloader.num_workers={workers}']
        self.log = (folder / 'log').open('a')
        self.processes = [
            subprocess.Popen(
                command,
                cwd=folder,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
                env=dict(
                    os.environ, PYTHONPATH=f'{ROOT}:{folder}', OMP_NUM_THREADS='1',
                    NOTES=str(self.notes), FAULT_LOG=os.devnull,
                    FAULT=json.dumps(fault if rank == 0 else {}), RANK=str(rank),
                    LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR='127.0.0.1',
                    MASTER_PORT=str(port),
                ),
            )
            for rank in range(ranks)
        ]  # fmt: skip

    def wait(self, lines: float, delay: float) -> int | None:
        """Exit code of the first process; None if all were killed after so many notes."""
        while self.processes[0].poll() is None:
            time.sleep(0.02)
            if len(self.lines()) >= lines:
                time.sleep(delay)
                break
        code = self.processes[0].poll()
        if code == 0:
            return max(process.wait() for process in self.processes)
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return code

    def lines(self) -> list[dict]:
        text = self.notes.read_text()
        return [json.loads(line) for line in text[: text.rfind('\n') + 1].splitlines()]

    def samples(self) -> list[tuple[int, int, list]]:
        """Epoch, iteration and samples of all ranks together, as far as all have noted them."""
        found: dict[tuple[int, int], dict[int, list]] = {}
        for line in self.lines():
            found.setdefault((line['epoch'], line['iter']), {})[line['rank']] = line['samples']
        whole = [(key, ranks) for key, ranks in sorted(found.items()) if len(ranks) == self.ranks]
        return [
            (*key, [s for turn in zip(*(ranks[r] for r in range(self.ranks))) for s in turn])
            for key, ranks in whole
        ]


def newest(folder: Path) -> int:
    """Iteration of the checkpoint that the next start resumes from; 0 without one."""
    pointer = folder / 'work' / 'last_checkpoint'
    return int(Path(pointer.read_text()).stem.removeprefix('iter_')) if pointer.exists() else 0


def epochs(samples: list[tuple[int, int, list]]) -> dict[int, list]:
    found: dict[int, list] = {}
    for epoch, _, batch in samples:
        found.setdefault(epoch, []).extend(batch)
    return found


def check(reference: dict[int, list], start: Start, place: tuple[int, int]) -> Iterator[tuple]:
    """Compare a start that resumed at ``place``: epoch, and number of samples of it before.

    Yields the place after each iteration, with its number.
    """
    epoch, seen = place
    for now, number, batch in start.samples():
        if seen >= IMAGES:
            epoch, seen = epoch + 1, 0
        assert now == epoch, f'{start.notes}: epoch {now} after {seen} samples of {epoch}'
        expected = reference[epoch][seen : seen + len(batch)]
        twice = len(batch) - len(expected)
        assert twice < start.ranks and batch[: len(expected)] == expected, (
            f'{start.notes}, iteration {number}: {batch} instead of {expected}'
        )
        seen += len(batch)
        yield number, (epoch, seen)


def train_killed(
    python: str, folder: Path, layouts: list, kills: int, dice: random.Random, reference: dict
) -> dict:
    """Kill a training so often, then let it end; gives numbers of what happened."""
    places, told = {0: (0, 0)}, dict(kills=0, at_writes=0, epochs=set(), layouts=set())
    for number in range(10 * kills):
        ranks, workers = layouts[number % len(layouts)]
        fault = dict(event='os.rename', file='iter_', at=dice.randint(1, 3), do='SIGKILL')
        at_write = dice.random() < 0.3
        ends = told['kills'] >= kills
        resumed = newest(folder)
        start = Start(python, folder, ranks, workers, fault if at_write and not ends else {})
        lines = float('inf') if ends or at_write else ranks * dice.randint(0, 40)
        code = start.wait(lines, dice.uniform(0, 0.3))
        place = places[resumed]
        for iteration, after in check(reference, start, place):
            places[iteration] = place = after
        told['layouts'].add((ranks, workers))
        if code == 0:
            assert place[0] == max(reference) and place[1] >= IMAGES, f'it ended at {place}'
            return told
        assert code in (None, -9, 137), f'exit code {code}, see {folder}/log'
        told['kills'] += 1
        told['at_writes'] += code is not None
        told['epochs'].add(place[0] + 1)
    raise AssertionError(f'{folder} makes no progress')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=20, help='of each of the two trainings')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    dice, root = random.Random(args.seed), Path(tempfile.mkdtemp(prefix='shards'))
    write_images(root / 'images', IMAGES)
    shard_folder(str(root / 'images'), str(root / 'shards'), images=25)
    folders = {name: root / name for name in ('whole', 'workers', 'ranks')}
    for folder in folders.values():
        folder.mkdir()
        (folder / 'shards').symlink_to('../shards')
        (folder / 'tiny.py').write_text(CONFIG)
        (folder / 'noted.py').write_text(NOTED)
    with preloaded(root) as python:
        start = Start(python, folders['whole'], 1, 0, {})
        assert start.wait(float('inf'), 0) == 0, f'see {folders["whole"]}/log'
        reference = epochs(start.samples())
        names = [[sample[0] for sample in epoch] for epoch in reference.values()]
        assert len(names) == 6 and all(len(set(n)) == len(n) == IMAGES for n in names)
        assert len({tuple(n) for n in names}) == 6, 'every epoch has the same order'
        for name, layouts in (('workers', [(1, 0), (1, 3), (1, 1)]), ('ranks', LAYOUTS)):
            told = train_killed(python, folders[name], layouts, args.kills, dice, reference)
            print(f'{name}: {told}', flush=True)
        last = f'work/iter_{newest(folders["whole"])}.pth'
        problems = differences(folders['whole'] / last, folders['workers'] / last)
        assert not problems, problems
    print(f'every epoch had its {IMAGES} images, in the same order, with the same crops and masks')
    shutil.rmtree(root)


if __name__ == '__main__':
    main()
