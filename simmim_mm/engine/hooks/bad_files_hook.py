from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from simmim_mm.datasets.skipping import counting_files
from simmim_mm.registry import HOOKS

_MAX_LOGGED = 20


@HOOKS.register_module()
class BadFilesHook(Hook):
    """Report the files that could not be read, by any worker of any rank.

    They are written to ``bad_files.txt`` in the work directory after every epoch, and counted and
    named in the log after training. The list is kept in the message hub, hence in checkpoints, so
    that a resumed run still knows what the first part of it found.
    """

    def after_train_epoch(self, runner: Any) -> None:
        self._collect(runner)

    def after_train(self, runner: Any) -> None:
        num_files, paths = self._collect(runner)
        if not paths:
            runner.logger.info(f'Unreadable files: 0 of {num_files}')
            return
        named = [f'  {path}' for path in paths[:_MAX_LOGGED]]
        if len(paths) > _MAX_LOGGED:
            named.append(f'  and {len(paths) - _MAX_LOGGED} more')
        runner.logger.warning(
            f'Unreadable files: {len(paths)} of {num_files}, listed in {self._file(runner)} '
            '(`simmim scan FOLDER` looks through all there are)\n' + '\n'.join(named)
        )

    def _collect(self, runner: Any) -> tuple[int, list[str]]:
        known = runner.message_hub.get_info('bad_files', [])
        loaders = [runner.train_dataloader]
        if runner.val_loop is not None:
            loaders.append(runner.val_dataloader)
        datasets = list(
            chain(*(counting_files(x.dataset) for x in loaders if isinstance(x, DataLoader)))
        )
        paths = sorted({*known, *chain(*(x.bad_files(all_ranks=True) for x in datasets))})
        if paths != known:
            runner.message_hub.update_info('bad_files', paths)
            self._write(runner, paths)
        return sum(map(len, datasets)), paths

    @master_only
    def _write(self, runner: Any, paths: list[str]) -> None:
        # A file name need not be valid UTF-8.
        text = ''.join(f'{path}\n' for path in paths)
        self._file(runner).write_text(text, encoding='utf-8', errors='surrogateescape')

    @staticmethod
    def _file(runner: Any) -> Path:
        return Path(runner.work_dir) / 'bad_files.txt'
