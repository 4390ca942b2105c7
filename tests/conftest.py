import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope


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


@pytest.fixture(autouse=True)
def default_scope():
    """Each test begins without a default scope, whichever the ones before it have set."""
    instances = DefaultScope._instance_dict
    instances.clear()
    yield
    instances.clear()
