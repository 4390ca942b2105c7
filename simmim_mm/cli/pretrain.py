"""From a folder to a pretrained backbone: ``simmim pretrain FOLDER``."""

import argparse
import time

from simmim_mm.cli.common import (
    add_cfg_options,
    add_channels,
    add_watching,
    interruption_explained,
    say,
)

HELP = 'pretrain on a folder of images, with settings chosen for them'
DESCRIPTION = """
Pretrain on a folder of images. Method, backbone, sizes, batch, rate and length are chosen from the
images, the machine and the time that you give; what you set yourself stays. The plan is shown with
its reasons, and written to the work dir as a config that `simmim train` runs.
"""
_START = time.monotonic()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    parser.add_argument('--minutes', type=float, metavar='N', help='how long it takes (30)')
    parser.add_argument('--epochs', type=int, metavar='N', help='length, instead of --minutes')
    parser.add_argument('--backbone', metavar='NAME', help='such as swin-tiny, vit-small, resnet50')
    parser.add_argument('--method', metavar='NAME', help='simmim, mae or pixmim')
    parser.add_argument('--img-size', type=int, metavar='N', help='side of the crops, in pixels')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images of a step')
    parser.add_argument('--lr', type=float, metavar='RATE', help='highest learning rate')
    add_channels(parser)
    parser.add_argument(
        '--from',
        dest='weights',
        metavar='FILE',
        help='weights to start from: of timm, transformers, OpenMMLab, the authors, or ours',
    )
    parser.add_argument(
        '--tune', default='all', metavar='PART', help='all, or last: the last blocks only'
    )
    parser.add_argument('--out', metavar='FOLDER', help='work dir (work_dirs/NAME_OF_FOLDER)')
    parser.add_argument(
        '--resume', action='store_true', help='continue the run in the work dir, by its config'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='(%(default)s)')
    add_watching(parser)
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.pretraining import Wishes, default_out, pretrain

    wishes = Wishes(
        method=args.method,
        backbone=args.backbone,
        img_size=args.img_size,
        batch_size=args.batch_size,
        epochs=args.epochs,
        minutes=args.minutes,
        lr=args.lr,
        seed=args.seed,
        tune=args.tune,
    )
    work_dir = args.out or str(default_out(args.folder))
    command = f'simmim pretrain {args.folder} --out {work_dir} --resume'
    with interruption_explained(work_dir, command):
        checkpoint = pretrain(
            args.folder,
            wishes,
            work_dir,
            args.channels,
            args.weights,
            args.resume,
            args.cfg_options,
            say,
            _START,
            args.logger,
            args.probe,
        )
        say(f'checkpoint: {checkpoint}')
