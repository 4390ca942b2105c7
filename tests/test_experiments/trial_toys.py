"""A script in the place of tools/train.py that writes what mmengine writes, in no time."""

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
