import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from vis_toys import save_checkpoint, tiny_config, write_photos

from simmim_mm.datasets.errors import DataError
from simmim_mm.experiments.run_report import (
    Curve,
    observations,
    read_curves,
    write_run_report,
)


def write_start(work_dir, name, lines, config='model = dict(type="MaskedImageModel")\n'):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'scalars.json').write_text(text)
    (folder / 'config.py').write_text(config)


def curve(*values):
    return Curve([10 * i for i in range(1, len(values) + 1)], list(values))


def falling(count=40, slope=0.01, end=0.5):
    return curve(*(end + slope * (count - i) for i in range(count)))


def test_curves_join_the_starts_of_a_run_and_the_later_one_counts(tmp_path):
    write_start(tmp_path, '20260101_000000', [dict(loss=3.0, step=1), dict(loss=9.0, step=2)])
    write_start(tmp_path, '20260102_000000', [dict(loss=2.0, step=2), dict(loss=1.0, step=3)])
    assert read_curves(tmp_path)['loss'] == Curve([1, 2, 3], [3.0, 2.0, 1.0])


def test_numbers_that_are_not_finite_and_torn_lines_are_left_out(tmp_path):
    write_start(tmp_path, '20260101_000000', [dict(loss=float('nan'), step=1)])
    with (tmp_path / '20260101_000000/vis_data/scalars.json').open('a') as file:
        file.write('{"loss": 2.0, "step": 2}\n{"loss": 1.')
    assert read_curves(tmp_path) == dict(loss=Curve([2], [2.0]))


@pytest.mark.parametrize(
    ('curves', 'said'),
    [
        (dict(loss=falling()), 'It still falls'),
        (dict(loss=curve(*[1.0] * 4, *[0.5] * 36)), 'It has become flat'),
        (dict(loss=curve(*[0.5] * 20, *[1.0] * 20)), 'The loss has not fallen'),
        (dict(loss=curve(*[1.0] * 4, *[0.5] * 20, 0.9, *[0.5] * 15)), 'jumps at iteration 250'),
        (
            {'loss': falling(), 'masked_loss/loss': curve(0.9, 0.7, 0.8)},
            'reconstructed best at iteration 20',
        ),
        (dict(loss=falling(), time=curve(1.0), data_time=curve(0.5)), '50% of the time'),
    ],
)
def test_each_observation_is_made_where_it_holds(curves, said):
    assert said in ' '.join(observations(curves))


def test_a_sound_training_is_not_warned_about():
    smooth = {'loss': falling(), 'masked_loss/loss': curve(0.9, 0.8, 0.7)}
    text = ' '.join(observations({**smooth, 'time': curve(1.0), 'data_time': curve(0.1)}))
    assert not re.search('not fallen|jumps|worse|waiting', text)


def test_the_page_is_complete_in_itself_and_escapes_what_it_shows(tmp_path):
    work_dir = tmp_path / '<script>alert(1)</script>'
    evil = 'model = dict(type="MaskedImageModel", note="<img src=x onerror=alert(1)>")\n'
    lines = [dict(loss=1.0, step=1, lr=0.1), {'<b>odd</b>': 2.0, 'step': 1}]
    write_start(work_dir, '20260101_000000', lines, evil)
    (work_dir / 'vis_data').mkdir()
    Image.new('RGB', (30, 20), (200, 30, 30)).save(work_dir / 'vis_data/reconstruction_0000001.png')
    (work_dir / 'iter_1.pth').touch()

    text = write_run_report(work_dir).read_text()
    tags = set(re.findall(r'<(\w+)', text))
    assert not tags & {'script', 'b', 'iframe', 'link'}
    assert 'onerror=alert(1)&gt;' in text and "default-src 'none'" in text
    assert not re.findall(r'(?:src|href)="(?!data:image/)', text)
    picture = re.findall('data:image/jpeg;base64,([^"]+)', text)[0]
    shown = Image.open(io.BytesIO(base64.b64decode(picture)))
    assert shown.size == (30, 20)
    assert max(abs(a - b) for a, b in zip(shown.getpixel((15, 10)), (200, 30, 30))) < 10
    assert 'simmim compare detection' in text


def test_data_and_spectra_are_those_of_the_training_images(tmp_path):
    write_photos(tmp_path / 'photos')
    cfg = tiny_config()
    cfg.train_dataloader.dataset.data_root = str(tmp_path / 'photos')
    work_dir = tmp_path / 'run'
    write_start(work_dir, '20260101_000000', [dict(loss=1.0, step=1)], cfg.pretty_text)
    save_checkpoint(work_dir / 'epoch_1.pth', cfg)
    text = write_run_report(work_dir).read_text()
    pixels = [np.asarray(Image.open(p)) for p in (tmp_path / 'photos').iterdir()]
    mean = np.mean([x.mean((0, 1)) for x in pixels], 0)
    assert f'mean of the channels<td>{", ".join(f"{x:.4g}" for x in mean)}<' in text
    assert '300x451 to 512x600' in text and '3 training images, by epoch_1.pth' in text
    for name in ('chelsea.jpg', 'coffee.jpg', 'astronaut.jpg', 'spectra of images'):
        assert f'alt="{name}' in text
    assert 'Normal: steep in the first tenth' in text

    (tmp_path / 'photos').rename(tmp_path / 'moved')
    assert write_run_report(work_dir).read_text().count('<p>Not available:') == 2


def test_a_config_that_is_more_than_settings_is_not_run(tmp_path):
    code = f'import pathlib\npathlib.Path({str(tmp_path / "run")!r}).touch()\n'
    write_start(tmp_path, '20260101_000000', [dict(loss=1.0, step=1)], code)
    text = write_run_report(tmp_path, tmp_path / 'page.html').read_text()
    assert '<summary>Config' not in text and not (tmp_path / 'run').exists()


def test_a_folder_without_a_training_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match='give the --work-dir of one'):
        write_run_report(tmp_path)
