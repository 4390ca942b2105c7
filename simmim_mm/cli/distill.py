"""Pretrain with a teacher: ``simmim distill TEACHER FOLDER --student swin-micro``."""

import argparse
from pathlib import Path
from typing import Any

from simmim_mm.catalog import find_config, list_configs
from simmim_mm.cli.common import add_run_options, say

HELP = 'pretrain a small backbone with a larger one as its teacher'
DESCRIPTION = """
Pretrain a small backbone on a folder of images with the features of a larger, pretrained one as a
second target beside the pixels, or in their place. What comes out is a checkpoint like any other.
"""
_FOLDER = 'distill/distill_'


def students() -> dict[str, str]:
    """Names of the recipes' students, such as ``swin-micro``, and of their configs."""
    names = [entry.name for entry in list_configs(_FOLDER)]
    return {'-'.join(name.removeprefix(_FOLDER).split('-')[:2]): name for name in names}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'teacher',
        help='checkpoint of the teacher: of a training here, or of other code (timm, mmpretrain, '
        'transformers, the authors), which is converted on the way',
    )
    parser.add_argument('data', help='folder of images to train on')
    parser.add_argument(
        '--student',
        required=True,
        metavar='NAME',
        help=f'{", ".join(students())}, or a config for pretraining, of whatever backbone',
    )
    parser.add_argument(
        '--target',
        choices=['both', 'teacher'],
        default='both',
        help="masked pixels and the teacher's features, or these alone, of whole images (both)",
    )
    text = 'what is compared, of features, pooled, qk and vv (features)'
    parser.add_argument('--relation', nargs='+', metavar='NAME', default=['features'], help=text)
    text = "blocks or stages of the teacher to compare the student's last with (the last)"
    parser.add_argument('--layer', type=int, metavar='N', default=-1, help=text)
    parser.add_argument(
        '--loss', help='of features: cosine, l1, l2 or smooth_l1 (cosine); of qk and vv: kl'
    )
    parser.add_argument(
        '--loss-weight', type=float, metavar='W', default=1.0, help='the pixels have 1 (1)'
    )
    parser.add_argument(
        '--teacher-size', type=int, metavar='PIXELS', help="of the teacher's images (the student's)"
    )
    parser.add_argument('--epochs', type=int, metavar='N', help='length; schedules are scaled')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per process and step')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (./work_dirs/NAME)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint, or from the newest in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: fp16; bfloat16 on CPU')
    parser.add_argument('--seed', type=int, metavar='N', help='overrides the seed of the config')
    add_run_options(parser)


def teacher_options(args: argparse.Namespace, checkpoint: str) -> dict[str, Any]:
    """Settings that put the teacher into the student's config."""
    teacher: dict[str, Any] = dict(type='FeatureTeacher', checkpoint=checkpoint)
    teacher.update(relation=tuple(args.relation), layers=args.layer)
    teacher.update(loss=args.loss, loss_weight=args.loss_weight)
    if args.teacher_size is not None:
        teacher['img_size'] = args.teacher_size
    options: dict[str, Any] = {'model.teacher': teacher}
    if args.target == 'teacher':
        teacher['whole_image'] = True
        options.update({'model.neck': None, 'model.head': None})
    return options


def native_teacher(file: str, work_dir: Path) -> str:
    """The file; or, of other code, a converted copy in the work dir."""
    from simmim_mm.checkpoint import CheckpointError, load_weights, read_config
    from simmim_mm.checkpoint.fetch import fetch
    from simmim_mm.interop import convert_checkpoint

    path = fetch(file)
    try:
        read_config(load_weights(path), path)
    except CheckpointError:
        target = work_dir / 'teacher.pth'
        try:
            family, _, _ = convert_checkpoint(path, target, overwrite=True)
        except CheckpointError as error:
            raise CheckpointError(
                f'{error} (convert the teacher by simmim convert, and give the result)'
            ) from error
        say(f'{file} is of {family}: converted to {target}')
        return str(target)
    return str(path)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.cli import train

    student: str = args.student
    name = students().get(student.replace('_', '-'), student)
    try:
        find_config(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'--student {student}: choose from {", ".join(students())}, or give a config ({error})'
        ) from None
    work_dir = Path(args.work_dir or Path('work_dirs') / Path(name).stem)
    checkpoint = native_teacher(args.teacher, work_dir)
    options = {**teacher_options(args, checkpoint), **args.cfg_options}
    settings = dict(config=name, data=args.data, work_dir=str(work_dir), cfg_options=options)
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    train.run(argparse.Namespace(**{**vars(parser.parse_args([name])), **vars(args), **settings}))
    last = Path((work_dir / 'last_checkpoint').read_text().strip())
    say(
        f'\nThe student: {last}. Did it help? On labeled images, against training from scratch:\n'
        f'  simmim compare classification DATA --checkpoints distilled={last}\n'
        f'  simmim compare detection DATA --checkpoints distilled={last}\n'
        'Add the same student pretrained without a teacher for as long (simmim train), as '
        'mim=FILE.\n'
        f'What it costs: teacher_time in {work_dir}, seconds of each step.'
    )
