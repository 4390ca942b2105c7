import gc
import io
import itertools
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import utils
from mmengine.device import get_device
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from PIL import Image
from preloaded_python import preloaded

CACHES = itertools.count()
frozen_modules = 0


@pytest.fixture(scope='session')
def transformers():
    """transformers, which ``make setup`` keeps out of the environment: mmpretrain comes first.

    Where mmpretrain 1.3 finds version 5 installed, it does not import.
    """
    import mmpretrain.models  # noqa: F401  it looks for transformers, once

    folder = Path(sys.prefix) / 'transformers'
    sys.path.append(str(folder))
    yield pytest.importorskip('transformers', reason=f'neither installed nor in {folder}')
    sys.path.remove(str(folder))


@pytest.fixture(scope='session')
def device() -> str:
    """Where runners put their models: a GPU if there is one. Tests that need it take it here."""
    return get_device()


@pytest.fixture(scope='session')
def python(tmp_path_factory):
    """An executable that runs programs as ``sys.executable`` does, but is ready at once."""
    if torch.cuda.is_available():  # CUDA does not survive a fork
        yield sys.executable
    else:
        with preloaded(tmp_path_factory.mktemp('python')) as executable:
            yield executable


def pytest_collection_modifyitems(items):
    """Files with long tests come first, so that processes that share the files end together."""
    long = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in long)


def freeze_imports() -> None:
    """Keep the garbage collector from what is imported: mmengine calls it for every data set."""
    global frozen_modules
    if len(sys.modules) > frozen_modules + 20:
        gc.collect()
        gc.freeze()
        frozen_modules = len(sys.modules)


def forget_runs() -> None:
    """Forget the default scope, and the loggers of the runs before.

    They are named after the second in which a run starts: the next one may have the same name.
    """
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        manager._instance_dict.clear()


@pytest.fixture(autouse=True)
def fresh_process():
    """Each test begins as in a process of its own; returns what makes it so again."""
    freeze_imports()
    forget_runs()
    yield forget_runs
    forget_runs()


@pytest.fixture(autouse=True, scope='session')
def short_joins():
    """Workers of a loader that an error has left are waited for, in vain, when it is collected."""
    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5  # seconds, of 5


@pytest.fixture(autouse=True, scope='session')
def metafiles_once():
    """For each config of mmdet or mmseg that one builds on, mmengine reads all their metafiles."""
    utils.load = cache(utils.load)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path_factory, monkeypatch):
    """What a test remembers of files is forgotten after it."""
    # not by mktemp, which looks through all folders of the tests before
    caches = tmp_path_factory.getbasetemp() / 'caches'
    monkeypatch.setenv('XDG_CACHE_HOME', str(caches / str(next(CACHES))))


def _jpeg(seed: int, size: tuple = (48, 40)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG')
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Fourteen good images in nested folders."""
    root = tmp_path / 'photos'
    for i in range(14):
        path = root / f'class{i % 3}' / f'{i:02d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(i))
    return root


@pytest.fixture
def bad_files(folder):
    """One file of each bad kind, added to ``folder``; their paths, sorted."""
    zero_pixels = io.BytesIO()
    np.save(zero_pixels, np.zeros((0, 7, 3), dtype=np.uint8))
    contents = {
        'class0/truncated.jpg': _jpeg(99)[:700],
        'class1/empty.png': b'',
        'class2/text.jpg': b'<html>404 not found</html>',
        'class2/zero_pixels.npy': zero_pixels.getvalue(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]
