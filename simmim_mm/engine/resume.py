"""Finding the checkpoint that a run can continue from."""

import re
from pathlib import Path

from mmengine.config import Config

from simmim_mm.checkpoint import find_state_dict, load_weights, require_finite

_NEEDED = ('meta', 'state_dict', 'message_hub', 'optimizer')


def find_resumable(work_dir: str | Path) -> tuple[str | None, list[str]]:
    """Path of the newest checkpoint that a training can continue from, or None; and notes.

    The one that ``last_checkpoint`` names is tried first, then all ``epoch_*.pth`` and
    ``iter_*.pth``, newest first. Every candidate is read, so that a file cut short by a full disk
    or a kill is passed over, and one of a training that had diverged. The notes are for the user,
    one sentence each.
    """
    work_dir = Path(work_dir)
    notes: list[str] = []
    for path in _candidates(work_dir, notes):
        try:
            check_resumable(path)
        except (OSError, ValueError) as error:
            notes.append(f'Passed over: {error}')
        else:
            notes.append(f'Resuming from {path}.')
            return str(path), notes
    notes.append(f'No checkpoint to resume from in {work_dir}: starting from the beginning.')
    return None, notes


def choose_checkpoint(cfg: Config, resume: str | None) -> list[str]:
    """Set ``resume`` and ``load_from`` to a checkpoint that is known to load.

    Args:
        cfg: Of the training; it has a work dir, and may say what to load.
        resume: A checkpoint to continue from; ``'auto'``: the newest sound one of the work dir;
            None: as the config says.

    Returns:
        What there is to tell the user, a sentence each.
    """
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        cfg.load_from, notes = find_resumable(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
        return notes
    if resume:
        cfg.resume, cfg.load_from = True, resume
    if cfg.get('load_from') and cfg.get('resume'):
        check_resumable(cfg.load_from)
    elif cfg.get('load_from') and '://' not in cfg.load_from:
        require_finite(find_state_dict(load_weights(cfg.load_from)), cfg.load_from)
    return []


def check_resumable(path: str | Path) -> None:
    """Read a checkpoint, safely, and see whether a training can be resumed from it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, holds weights only, or weights that are NaN or infinite.
    """
    checkpoint = load_weights(path)
    missing = [key for key in _NEEDED if key not in checkpoint]
    if missing:
        raise ValueError(
            f'{path} has no {", ".join(missing)}: it holds weights, but not the state of a '
            'training. To start a new training from these weights, use '
            f'--cfg-options load_from={path}'
        )
    require_finite(find_state_dict(checkpoint, path), path)


def _candidates(work_dir: Path, notes: list[str]) -> list[Path]:
    found = [p for p in work_dir.glob('*.pth') if re.fullmatch(r'(epoch|iter)_\d+', p.stem)]
    found.sort(key=lambda p: (p.stat().st_mtime_ns, int(p.stem.split('_')[1])), reverse=True)
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return found
    name = pointer.read_text(errors='replace').strip()
    if not name:
        notes.append(f'{pointer} is empty.')
        return found
    # The folder may have been moved or copied since the path was written.
    last = Path(name) if Path(name).is_file() else work_dir / Path(name).name
    if not last.is_file():
        notes.append(f'{pointer} names {name}, which is not there.')
        return found
    return [last] + [p for p in found if p.resolve() != last.resolve()]
