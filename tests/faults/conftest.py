import pytest
from harness import PRETRAINING, make_project, run


@pytest.fixture(scope='session')
def pretraining(python, tmp_path_factory):
    """The folder of a pretraining that nothing has interrupted; beside it, what it did to files."""
    folder = make_project(tmp_path_factory.mktemp('whole'))
    end = run(python, folder, *PRETRAINING)
    assert end.code == 0, end.output
    (folder.parent / 'events').write_text('\n'.join(end.events))
    return folder


@pytest.fixture
def project(tmp_path):
    """A folder to train in."""
    return make_project(tmp_path / 'project')
