"""What the verbs share: options, reading a config, and showing errors to people."""

import argparse
import ast
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ELOOP, ENOSPC, EROFS, ESTALE
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from simmim_mm._renamed import warn_renamed
from simmim_mm.catalog import load_config as load_config
from simmim_mm.cli.values import parse_value

if TYPE_CHECKING:
    from mmengine.config import Config

    from simmim_mm.curation.files import Plan
    from simmim_mm.experiments import Outcome, Trial
    from simmim_mm.experiments.executors import Executor

DEBUG_VARIABLE = 'SIMMIM_MM_DEBUG'
_OF_DISKS = (ENOSPC, EDQUOT, EFBIG, EROFS, EIO, ELOOP, ESTALE)
_MISFIT = re.compile(r"unexpected keyword argument '|missing \d+ required ")
_PACKAGE = Path(__file__).parents[1]
_WARNING = re.compile(r'(?P<file>.*?):\d+: \w+: (?P<text>.*)')


class _CfgOptions(argparse.Action):
    """Collects ``key=value``; see :func:`~simmim_mm.cli.values.parse_value`."""

    def __call__(self, parser, namespace, values: Any, option_string=None) -> None:
        options = dict(getattr(namespace, self.dest))
        for before, text in zip([None, *values], values):
            key, equals, value = text.partition('=')
            if not equals:
                hint = f'. Quote a value with blanks: "{before} {text}"' if before else ''
                parser.error(f'argument {option_string}: {text!r} is not like name=value{hint}')
            options[key] = parse_value(key, value)
        setattr(namespace, self.dest, options)


def add_cfg_options(
    parser: argparse.ArgumentParser, name: str = '--cfg-options', **kwargs: Any
) -> None:
    """Add an option that takes ``key.of.setting=value ...``, by default for a config."""
    kwargs.setdefault('help', 'override settings of the config')
    kwargs.setdefault('metavar', 'KEY.OF.SETTING=VALUE')
    parser.add_argument(name, nargs='+', action=_CfgOptions, default={}, **kwargs)


def merge_options(cfg: 'Config', options: Mapping[str, Any]) -> None:
    """Enter what --cfg-options says.

    Raises:
        ValueError: If a name is nearly, but not quite, one that the config or a runner has: it
            would be a new setting that nothing reads.
    """
    from difflib import get_close_matches
    from inspect import signature

    from mmengine.runner import Runner

    known = {*cfg, *signature(Runner).parameters}
    for key in options:
        name = key.partition('.')[0]
        if name not in known and (near := get_close_matches(name, known, 1, cutoff=0.85)):
            raise ValueError(f'--cfg-options: the config has no {name!r}; do you mean {near[0]!r}?')
    cfg.merge_from_dict(dict(options))


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Add ``--logger`` and ``--probe``."""
    parser.add_argument(
        '--logger',
        action='append',
        default=[],
        choices=['tensorboard', 'mlflow', 'wandb'],
        help='write curves and pictures there too; may be repeated',
    )
    parser.add_argument(
        '--probe',
        metavar='FOLDER',
        help='labeled images, a folder for each class: measure what the features are worth on them '
        'while a pretraining runs',
    )


def add_run_options(parser: argparse.ArgumentParser, **kwargs: Any) -> None:
    """Add the options of a run, perhaps in several processes; ``kwargs`` go to --cfg-options."""
    add_cfg_options(parser, **kwargs)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of verbs that look at a checkpoint: where its config is, where it runs."""
    parser.add_argument('--config', help='config file, for a checkpoint without its own')
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')


def checkpoint_options(args: argparse.Namespace) -> tuple['Config | None', str]:
    """Config and device that :func:`add_checkpoint_options` has read."""
    import torch

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return load_config(args.config) if args.config else None, device


def add_transforms(parser: argparse.ArgumentParser, name: str, help: str, **kwargs: Any) -> None:
    """Add an option that takes registered transforms, and may be repeated."""
    kwargs.setdefault('metavar', 'TRANSFORM')
    parser.add_argument(name, action='append', type=parse_transforms, help=help, **kwargs)


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add ``--channels``, as ``LoadImage(channels=...)``."""
    parser.add_argument(
        '--channels',
        type=lambda text: int(text) if text.isdigit() else text,
        help='rgb, gray, or the number that every file has (what the files have)',
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    text = 'processes (one per core)'
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help=text)


def add_file_options(parser: argparse.ArgumentParser, move: str, link: str) -> None:
    """Add ``--workers``, and ``--move``, ``--link`` (with their help) and ``--apply``."""
    add_workers(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--move', metavar='TO', help=move)
    group.add_argument('--link', metavar='TO', help=link)
    parser.add_argument('--apply', action='store_true', help='do what --move or --link ask for')


def file_target(args: argparse.Namespace) -> str | None:
    """Where --move or --link put files, if one is given."""
    target = args.move or args.link
    if args.apply and not target:
        raise ValueError('--apply needs --move TO or --link TO')
    return target


def move_or_link(args: argparse.Namespace, plan: 'Plan') -> None:
    """Do what --move or --link ask for, or, without --apply, say it."""
    from simmim_mm.curation import apply_plan

    verb, steps = 'link' if args.link else 'move', list(plan)
    if args.apply:
        number = apply_plan(steps, link=bool(args.link))
        print(f'{verb}: {number} files to {file_target(args)}')
    else:
        print(f'would {verb} {len(steps)} files to {file_target(args)}; add --apply to do it')


def find_images(path: str, number: int) -> list[str]:
    """The file, or ``number`` files at equal distances from the folder."""
    from simmim_mm.datasets.image_folder import list_images
    from simmim_mm.datasets.shards import are_shards

    if os.path.isfile(path) and not path.endswith('.tar'):
        return [path]
    if not (os.path.isdir(path) or are_shards(path)):
        raise FileNotFoundError(f'no image or folder at {path}')
    if number < 1:
        raise FileNotFoundError(f'--num must be at least 1, got {number}')
    files = list_images(path)
    count = min(number, len(files))
    return [files[i * len(files) // count] for i in range(count)]


def add_nodata(parser: argparse.ArgumentParser) -> None:
    """Add ``--nodata``, as ``LoadImage(nodata=...)``."""
    parser.add_argument(
        '--nodata',
        metavar='VALUE',
        help='what stands for no data: a number, nan, or file for what each file declares '
        '(GDAL_NODATA, padding of DICOM)',
    )


def renew_options(verb: str, argv: Sequence[str], renamed: dict[str, str]) -> list[str]:
    """The arguments, with the names that options have today."""
    found = []
    for argument in argv:
        option, equals, value = argument.partition('=')
        if option in renamed:
            warn_renamed(f'{verb} {option}', f'{verb} {renamed[option]}')
            argument = renamed[option] + equals + value
        found.append(argument)
    return found


def default_work_dir(config: str) -> str:
    return os.path.join('./work_dirs', os.path.splitext(os.path.basename(config))[0])


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def progress_ticks(title: str) -> Iterator[Callable[..., None]]:
    """Show a bar; the function that it gives takes the total and moves it by one, or a number.

    Where there is no terminal, as in a job of a cluster, a line a minute takes its place.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from simmim_mm.experiments.report import left_each_minute

    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task, left_of = progress.add_task(title, total=None), left_each_minute()

        def tick(total: int, number: int = 1) -> None:
            progress.update(task, total=total, advance=number)
            done = progress.tasks[0].completed
            if not progress.console.is_terminal and (left := left_of(done, total)):
                say(f'{title}: {done:g} of {total}, about {left} left')

        try:
            yield tick
        except BaseException:
            if not progress.tasks[0].completed:  # an empty bar says nothing beside the error
                progress.remove_task(task)
            raise


def train_command() -> list[str]:
    """What starts a training in a process of its own."""
    return [sys.executable, '-m', 'simmim_mm.cli', 'train']


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``, ``--executor`` and ``--executor-options``."""
    text = 'trainings at a time (default: 1; on a cluster all, its queue decides)'
    parser.add_argument('--jobs', type=int, help=text)
    parser.add_argument(
        '--executor',
        choices=['local', 'slurm', 'submitit-local', 'ray'],
        default='local',
        help='where they run: processes here (default), jobs of Slurm, the same tried out here, or '
        'tasks of Ray; docs/how-to/cluster.md',
    )
    add_cfg_options(
        parser,
        '--executor-options',
        metavar='NAME=VALUE',
        help='what each training asks of the cluster, in the words of submitit (timeout_min=240 '
        'gpus_per_node=1 slurm_partition=gpu) or Ray (num_cpus=8 num_gpus=1)',
    )


def choose_executor(args: argparse.Namespace, work_dir: Path) -> 'Executor':
    """The executor that :func:`add_executor_options` has read."""
    from simmim_mm.experiments.executors import make_executor

    folder = work_dir / 'submitit'
    return make_executor(args.executor, folder, args.jobs, args.executor_options)


def run_trainings(trials: 'Sequence[Trial]', folder: Path, executor: 'Executor') -> 'list[Outcome]':
    """Run trials with `simmim train`, each in a folder of its own.

    SIGTERM, SIGUSR1 and Ctrl-C end this process, the first two with exit code 75, and its
    trainings; jobs of Slurm go on.
    """
    from simmim_mm.checkpoint.disk import require_space
    from simmim_mm.engine.stop_request import StopRequest
    from simmim_mm.experiments import run_trials

    require_space(folder)
    try:
        with StopRequest():
            return run_trials(trials, folder, train_command(), report=say, executor=executor)
    except KeyboardInterrupt:
        end_interrupted('interrupted: the same command continues from here')


def end_interrupted(text: str) -> NoReturn:
    """End the process after a Ctrl-C as shells expect it, with one line, if there is a text."""
    if text:
        sys.stderr.write(f'{text}\n')
    sys.exit(128 + signal.SIGINT)


@contextmanager
def interruption_explained(work_dir: str | Path, command: str) -> Iterator[None]:
    """End the process on Ctrl-C, and say what is left and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        pointer = Path(work_dir) / 'last_checkpoint'
        if not pointer.is_file():
            end_interrupted('interrupted before the first checkpoint: the same command starts over')
        name = Path(pointer.read_text().strip()).name
        end_interrupted(f'interrupted after {name} in {work_dir}: `{command}` continues from there')


def parse_transforms(text: str) -> tuple[str, list[dict]]:
    """``'A(x=1), b.C()'``, and it as ``[dict(type='A', x=1), dict(type='b.C')]``; runs nothing."""
    try:
        body = ast.parse(text.strip(), mode='eval').body
        calls = body.elts if isinstance(body, (ast.Tuple, ast.List)) else [body]
        steps = []
        for call in calls:
            if not isinstance(call, ast.Call) or call.args:
                raise ValueError('arguments need names')
            values = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
            steps.append(dict(type=ast.unparse(call.func), **values))
        return text, steps
    except (SyntaxError, ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not like "Type(name=value), Type()" ({error})'
        ) from None


@contextmanager
def warnings_of_others_logged() -> Iterator[None]:
    """Keep Python's warnings of other libraries out of what a user reads.

    They go to the log of a training; those about this package are shown. With ``SIMMIM_MM_DEBUG``
    all are, as usual.
    """
    if os.environ.get(DEBUG_VARIABLE):
        yield
        return
    captured, shown = logging.getLogger('py.warnings'), logging.StreamHandler()
    shown.addFilter(_is_of_package)
    captured.addHandler(shown)
    captured.propagate = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        captured.handlers.clear()


def _is_of_package(record: logging.LogRecord) -> bool:
    """Whether a logged warning is raised in this package, or speaks of it."""
    found = _WARNING.match(record.getMessage())  # the path of the environment may have our name
    if not found:
        return True
    return Path(found['file']).is_relative_to(_PACKAGE) or 'simmim_mm' in found['text']


def run_tool(main: Callable[[], None], rank: int = 0, continues: bool = False) -> None:
    """Call ``main`` and end the process with code 2 and one line on an error of the user's.

    Ctrl-C ends it with 130 and a line, which says whether the same command ``continues``.
    Errors of another kind keep their traceback, and so does everything if the environment variable
    ``SIMMIM_MM_DEBUG`` is set. Of the processes of a run, the one of ``rank`` 0 shows the line.
    Warnings of other libraries are not shown, see :func:`warnings_of_others_logged`.
    """
    try:
        with warnings_of_others_logged():
            main()
    except KeyboardInterrupt:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        then = ': the same command continues from here' if continues else ''
        end_interrupted(f'interrupted{then}' if rank == 0 else '')
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) or not is_user_error(error):
            raise
        _exit(error, rank)


def is_user_error(error: BaseException) -> bool:
    """Whether an error says all that its reader needs: a traceback would only hide it.

    That holds for files that cannot be opened or written, for this package's own error classes, for
    a ValueError that it raises on purpose (the innermost frame is a ``raise`` in its folder), for a
    type name that no registry knows, and for a setting that a type does not take.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
        return True
    if isinstance(error, OSError) and error.errno in _OF_DISKS:
        return True
    if type(error).__module__.split('.')[0] == 'simmim_mm':
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    if _is_misfit(error, frames):
        return True
    last = frames[-1]
    file = Path(last.filename)
    if isinstance(error, ValueError) and file.is_relative_to(_PACKAGE):
        return (last.line or '').startswith('raise')
    return isinstance(error, KeyError) and file.parts[-3:-1] == ('mmengine', 'registry')


def _is_misfit(error: BaseException, frames: 'Sequence[traceback.FrameSummary]') -> bool:
    """Whether a class that a registry built did not take the settings of the config."""
    if not isinstance(error, TypeError) or not _MISFIT.search(str(error)):
        return False
    built = [i for i, f in enumerate(frames) if f.name == 'build_from_cfg']
    return bool(built) and all(frame.name == '__init__' for frame in frames[built[-1] + 1 :])


def _near_settings(error: TypeError) -> str:
    """Where the config has the setting that a class does not take, and the one of a like name."""
    from difflib import get_close_matches
    from inspect import getmro, isfunction, signature

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    wrong = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    built = [f.f_locals['obj_cls'] for f in frames if f.f_code.co_name == 'build_from_cfg']
    if not wrong or not built or not isinstance(built[-1], type):
        return ''
    makers = [base.__init__ for base in getmro(built[-1]) if isfunction(base.__init__)]
    taken = {name for maker in makers for name in signature(maker).parameters}
    near = get_close_matches(wrong[1], taken - {'self', 'args', 'kwargs'}, 1, cutoff=0.75)
    configs = [getattr(f.f_locals.get('self'), 'cfg', None) for f in frames]
    config = next((c for c in configs if hasattr(c, 'to_dict')), None)
    places = [] if config is None else list(_places(config.to_dict(), wrong[1]))
    where = f', in the config {places[0]}' if len(places) == 1 else ''
    return f'{where}; do you mean {near[0]!r}?' if near else ''


def _places(config: Any, name: str, path: str = '') -> Iterator[str]:
    """Where a config has settings of that name."""
    if isinstance(config, (list, tuple)):
        config = dict(enumerate(config))
    for key, value in config.items() if isinstance(config, dict) else ():
        if key == name:
            yield f'{path}{key}'
        yield from _places(value, name, f'{path}{key}.')


def _exit(error: BaseException, rank: int) -> NoReturn:
    if rank == 0:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, TypeError):
            text += _near_settings(error) or (
                '. The config sets something that this class does not take, or leaves out what it '
                'needs; where a child config changes a type, _delete_=True drops the settings of '
                'the former one'
            )
        if text.startswith('Caught '):  # in a data loader's worker: its traceback, then the error
            text = text.strip().splitlines()[-1].split(': ', 1)[-1]
        sys.stderr.write(f'error: {text}\n')
        sys.stderr.write(f'(set {DEBUG_VARIABLE}=1 to see where it was raised)\n')
    sys.exit(2)
