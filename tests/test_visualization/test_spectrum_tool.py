import csv

import pytest
from vis_toys import save_checkpoint, tiny_config, write_photos

from simmim_mm.cli import parse_args


def run(*args):
    verb, arguments = parse_args(['spectrum', *map(str, args)])
    verb.run(arguments)


def test_tool_compares_checkpoints_by_band(tmp_path, capsys):
    write_photos(tmp_path / 'photos')
    (tmp_path / 'photos' / 'broken.jpg').write_bytes(b'no image')
    plain, filtered = tiny_config(), tiny_config()
    filtered.train_dataloader.dataset.pipeline[1].scale = (64, 32)  # not used
    filtered.model.target = [dict(type='LowFreq', radius_ratio=0.25, mode='centered')]
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    paths = [
        save_checkpoint(tmp_path / 'a/epoch_1.pth', plain),
        save_checkpoint(tmp_path / 'b/epoch_1.pth', filtered),
    ]
    out = tmp_path / 'out'
    run(
        *paths,
        tmp_path / 'photos',
        '--out-dir',
        out,
        '--same-images',
        '--edges',
        0,
        0.25,
        1.5,
    )
    captured = capsys.readouterr()
    assert 'broken.jpg' in captured.err
    assert '3 images' in captured.out
    with open(out / 'spectrum.csv') as file:
        rows = {(row.pop('checkpoint'), row.pop('band')): row for row in csv.DictReader(file)}
    assert list(rows)[:3] == [('a/epoch_1', band) for band in ('0-0.25', '0.25-1.5', 'all')]
    rows = {key: {kind: float(v) for kind, v in row.items()} for key, row in rows.items()}
    for model in ('a/epoch_1', 'b/epoch_1'):
        low, high, total = (rows[model, band] for band in ('0-0.25', '0.25-1.5', 'all'))
        for kind in ('prediction', 'mean color'):
            assert low[kind] + high[kind] == pytest.approx(total[kind])
            # They see the same images under the same masks.
            assert total['mean color'] == rows['a/epoch_1', 'all']['mean color']
    # Without a filter the target is the image, with one it lacks the high frequencies.
    assert rows['a/epoch_1', 'all']['target'] == 0
    assert high['target'] > 0.5 * high['mean color']
    assert (out / 'spectrum.png').stat().st_size > 10_000


def test_tool_names_what_is_missing(tmp_path):
    path = save_checkpoint(tmp_path / 'bare.pth', tiny_config(), drop='neck.')
    write_photos(tmp_path / 'photos')
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        run(tmp_path / 'gone.pth', tmp_path / 'photos')
    with pytest.raises(ValueError, match='no weights of the decoder'):
        run(path, tmp_path / 'photos')
