import time

from simmim_mm.curation.files import map_files
from simmim_mm.engine.stop_request import StopRequest


def test_the_processes_end_at_once_before_a_training():
    """They are ended by SIGTERM, which what loads images for a training does not take."""
    with StopRequest():
        results = map_files(time.sleep, [0.0, 60.0], workers=2)
        assert next(results) is None
        start = time.monotonic()
        results.close()
    assert time.monotonic() - start < 20
