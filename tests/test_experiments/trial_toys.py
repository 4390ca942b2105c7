"""A script in the place of tools/train.py that writes what mmengine writes, in no time."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from simmim_mm.experiments import Trial, run_trials

FAKE_TRAIN = """
import argparse, json, os, sys, time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('--work-dir', type=Path)
parser.add_argument('--resume', action='store_true')
args = parser.parse_args()
cfg = {}
exec(Path(args.config).read_text(), cfg)
args.work_dir.mkdir(exist_ok=True)
with open(args.work_dir / 'calls.txt', 'a') as file:
    print(os.environ.get('OMP_NUM_THREADS'), file=file)
stamp = 20260101_000000
while (folder := args.work_dir / f'{str(stamp)[:8]}_{str(stamp)[8:]}').exists():
    stamp += 1
scalars = folder / 'vis_data' / 'scalars.json'
scalars.parent.mkdir(parents=True)

def write(**line):
    with open(scalars, 'a') as file:
        print(json.dumps(line), file=file)

if cfg.get('fail'):
    print('some\\nlines')
    sys.exit('error: learning rate too blue' if cfg['fail'] == 'told' else 'Traceback: boom')
done = [p for p in args.work_dir.glob('iter_*.pth')]
first = max((int(p.stem[5:]) for p in done), default=0) if args.resume else 0
for i in range(first + 1, 5):
    write(lr=0.1, loss=1 / i, iter=i, step=i)
    (args.work_dir / 'pid').write_text(str(os.getpid()))
    (args.work_dir / f'iter_{i}.pth').write_text('')
    os.utime(args.work_dir / f'iter_{i}.pth', ns=(i, i))
    if cfg.get('wait_at') == i and not (args.work_dir / 'go').exists():
        time.sleep(60)
if first < 4 and cfg.get('validates', True):
    value = float(cfg['gain']) * (1 + cfg['randomness']['seed'])
    write(**{cfg.get('metric', 'accuracy/top1'): value,
             'other': 5.0, 'data_time': 0.1, 'time': 0.2, 'step': 4})
elif first < 4:
    write(data_time=0.1, time=0.2, step=4)
"""


def trial(name, **settings) -> Trial:
    cfg = Config(dict(dict(train_cfg=dict(max_iters=4), gain=2.0), **settings))
    return Trial(name, cfg, 'accuracy/top1')


def when_it_waits(runs: Path, act: Callable[[Path], None]) -> threading.Thread:
    """Act on the folder of the training that waits in its second iteration."""

    def watch():
        while not (found := list(runs.glob('*/iter_2.pth'))):
            time.sleep(0.02)
        act(found[0].parent)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def go_on(folder: Path) -> None:
    """Let the training that waits go on, once it is started again."""
    (folder / 'go').touch()


def signal_its_parent(folder: Path, number: int) -> None:
    """Send a signal to the process above a training."""
    stat = Path('/proc', (folder / 'pid').read_text(), 'stat').read_text()
    os.kill(int(stat.rpartition(')')[2].split()[1]), number)


def preempt(folder: Path) -> None:
    go_on(folder)
    signal_its_parent(folder, signal.SIGTERM)


def check_one_fails_and_one_is_preempted(executor, folder: Path) -> None:
    (folder / 'fake.py').write_text(FAKE_TRAIN)
    trials = [trial('bad', fail='told'), trial('preempted', wait_at=2)]
    command, lines = [sys.executable, str(folder / 'fake.py')], []
    thread = when_it_waits(folder / 'runs', preempt)
    bad, good = run_trials(trials, folder / 'runs', command, 1, lines.append, executor)
    thread.join()
    assert bad.value is None and 'learning rate too blue' in str(bad.error)
    assert good.value == 2.0 and (good.work_dir / 'result.json').is_file()
    assert (good.work_dir / 'calls.txt').read_text().split() == ['1', '1']  # threads of each start
    logs = [path.read_text() for path in sorted(good.work_dir.rglob('scalars.json'))]
    assert [json.loads(line)['step'] for line in ''.join(logs).splitlines()] == [1, 2, 3, 4, 4]
