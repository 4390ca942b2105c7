"""What of the log is shown."""

import logging
import re
import warnings

import pytest
from mmengine import hooks

from simmim_mm import engine
from simmim_mm.cli import load_verb, main
from simmim_mm.cli.common import interruption_explained, run_tool, warnings_of_others_logged
from simmim_mm.engine.console import ConsoleFilter

LOGGER_HOOK = hooks.logger_hook.__file__


def record(path: str, text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord('mmengine', level, path, 1, text, (), None)


def test_what_passes():
    console = ConsoleFilter(apart=1000.0)
    assert console.filter(record(engine.__file__, 'Effective batch'))
    assert not console.filter(record(hooks.__file__, 'Config: ...'))
    assert not console.filter(record(hooks.__file__, 'deprecated', logging.WARNING))
    assert console.filter(record(hooks.__file__, 'cannot write', logging.ERROR))
    progress = record(LOGGER_HOOK, 'Epoch(train) [1][5/9] eta: 0:01:00 loss: 1')
    assert console.filter(progress)
    assert not console.filter(progress)  # too soon after the last
    assert console.filter(record(LOGGER_HOOK, 'Epoch(val) [1][9/9] masked_loss: 1'))
    assert not console.filter(record(LOGGER_HOOK, 'Exp name: a_b'))


def test_warnings_of_others_are_kept_away(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        with warnings_of_others_logged():
            warnings.warn('timm is old', FutureWarning, stacklevel=2)
            warnings.warn('a is now b until simmim_mm 1.0', FutureWarning, stacklevel=2)
    shown = capsys.readouterr().err
    assert 'timm is old' not in shown and 'a is now b' in shown
    assert logging.getLogger('py.warnings').handlers == []


def test_the_name_of_a_folder_makes_no_warning_ours(tmp_path, capsys):
    """A clone called simmim_mm holds the libraries, too, in its environment."""
    file = str(tmp_path / 'simmim_mm/.venv/lib/mmcv/transformer.py')

    def main():
        warnings.warn_explicit('no operators', UserWarning, file, 33)
        warnings.warn_explicit('slow', UserWarning, engine.__file__, 33)

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        run_tool(main)
    shown = capsys.readouterr().err
    assert 'no operators' not in shown and 'slow' in shown


def _interrupt():
    raise KeyboardInterrupt


def test_an_interruption_says_how_to_continue(tmp_path, capsys):
    command = 'simmim train c.py --resume'
    with pytest.raises(SystemExit, match='130'), interruption_explained(tmp_path, command):
        _interrupt()
    assert 'before the first checkpoint' in capsys.readouterr().err
    (tmp_path / 'last_checkpoint').write_text(f'{tmp_path}/epoch_3.pth')
    with pytest.raises(SystemExit, match='130'), interruption_explained(tmp_path, command):
        _interrupt()
    shown = capsys.readouterr().err
    assert re.search(rf'epoch_3\.pth.*`{re.escape(command)}` continues', shown)


@pytest.mark.parametrize(
    ('verb', 'line'),
    [
        ('scan', 'interrupted: the same command continues from here\n'),
        ('knn', 'interrupted\n'),
    ],
)
def test_ctrl_c_ends_every_verb_with_one_line(verb, line, monkeypatch, capsys):
    monkeypatch.setattr(load_verb(verb), 'run', lambda args: _interrupt())
    with pytest.raises(SystemExit, match='130'):
        main([verb, 'a', 'b'][: 2 if verb == 'scan' else 3])
    assert capsys.readouterr().err == line
