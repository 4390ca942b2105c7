import os
import signal
import subprocess

import pytest
from mmengine.fileio import get_file_backend

from simmim_mm.checkpoint.file_backend import TMP_SUFFIX, AtomicLocalBackend, remove_stale_files


def test_chosen_by_name_and_writes_like_the_local_backend(tmp_path):
    backend = get_file_backend(tmp_path, backend_args=dict(backend='atomic'))
    backend.put(b'one', tmp_path / 'new' / 'file')
    backend.put_text('two', tmp_path / 'text')
    assert backend.get(tmp_path / 'new' / 'file') == b'one'
    assert backend.get_text(tmp_path / 'text') == 'two'
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / 'text').stat().st_mode & 0o777 == 0o666 & ~umask  # readable as usual


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    class FullDisk(AtomicLocalBackend):
        @staticmethod
        def _write(file, obj):
            file.write(obj[: len(obj) // 2])
            raise OSError('No space left on device')

    target = tmp_path / 'epoch_1.pth'
    AtomicLocalBackend().put(b'old', target)
    with pytest.raises(OSError, match='No space'):
        FullDisk().put(b'new content', target)
    assert target.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_sigkill_in_the_middle_of_a_write(tmp_path, python):
    script = f"""
import os, signal
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend

class Killed(AtomicLocalBackend):
    @staticmethod
    def _write(file, obj):
        file.write(obj[:5])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

AtomicLocalBackend().put(b'old', {str(tmp_path / 'x.pth')!r})
Killed().put(b'new content', {str(tmp_path / 'x.pth')!r})
"""
    status = subprocess.run([python, '-c', script]).returncode
    assert status in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert (tmp_path / 'x.pth').read_bytes() == b'old'
    (left,) = [name for name in os.listdir(tmp_path) if name != 'x.pth']
    assert left.startswith('.x.pth.') and left.endswith(TMP_SUFFIX)

    assert remove_stale_files(tmp_path) == [left]
    assert os.listdir(tmp_path) == ['x.pth']
