import numpy as np
import pytest
import torch
from PIL import Image
from vis_toys import save_checkpoint, tiny_config, write_photos

from simmim_mm.visualization.reconstructor import Reconstructor


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / 'photos')
    return sorted(str(path) for path in (tmp_path / 'photos').iterdir())


@pytest.fixture
def checkpoint(tmp_path):
    return save_checkpoint(tmp_path / 'run.pth', tiny_config())


def test_checkpoint_brings_its_model_and_pipeline(checkpoint, photos):
    reconstructor = Reconstructor.from_checkpoint(checkpoint)
    saved = torch.load(checkpoint)['state_dict']
    for name, value in reconstructor.model.state_dict().items():
        assert torch.equal(value, saved[name]), name
    assert not reconstructor.missing and not reconstructor.model.training
    pictures = reconstructor.reconstruct(photos)
    assert pictures['original'].shape == (3, 3, 32, 48)
    assert pictures['mask'].float().mean() == 0.5
    visible = ~pictures['mask'].expand_as(pictures['original'])
    torch.testing.assert_close(
        pictures['reconstruction'][visible], pictures['original'][visible], rtol=0, atol=1e-3
    )


def test_masks_follow_the_seed_alone(checkpoint, photos):
    reconstructor = Reconstructor.from_checkpoint(checkpoint)
    masks = [reconstructor.reconstruct(photos, seed=s)['mask'] for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0][0], masks[0][1])


def test_missing_decoder_is_reported_and_missing_encoder_refused(tmp_path, photos):
    path = save_checkpoint(tmp_path / 'a.pth', tiny_config(), drop='neck.')
    assert all(n.startswith('neck.') for n in Reconstructor.from_checkpoint(path).missing)
    path = save_checkpoint(tmp_path / 'b.pth', tiny_config(), drop='backbone.')
    with pytest.raises(ValueError, match='encoder'):
        Reconstructor.from_checkpoint(path)


def test_a_model_of_features_is_refused(tmp_path):
    cfg = tiny_config(target=[dict(type='HOG')])
    cfg.model.neck.update(stride=1, out_channels=27)
    with pytest.raises(ValueError, match='not an image'):
        Reconstructor.from_checkpoint(save_checkpoint(tmp_path / 'hog.pth', cfg))


def test_only_normalizations_are_said_to_be_undone(tmp_path):
    cfg = tiny_config(target=[dict(type='LowResolution', factor=4), dict(type='UnitRange')])
    cfg.model.head.loss = dict(type='PixelCrossEntropy')
    cfg.model.neck.update(stride=2)
    reconstructor = Reconstructor.from_checkpoint(save_checkpoint(tmp_path / 'a.pth', cfg))
    assert reconstructor.note('visible') == 'Target: UnitRange of LowResolution.'


def test_files_of_other_kinds_are_refused(tmp_path, checkpoint):
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        Reconstructor.from_checkpoint(tmp_path / 'gone.pth')
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(ValueError, match=r'text\.pth'):
        Reconstructor.from_checkpoint(tmp_path / 'text.pth')
    torch.save(torch.load(checkpoint)['state_dict'], tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match=r'bare\.pth carries no config'):
        Reconstructor.from_checkpoint(tmp_path / 'bare.pth')
    assert Reconstructor.from_checkpoint(tmp_path / 'bare.pth', tiny_config()).missing == []
    with pytest.raises(ValueError, match='do not fit'):
        Reconstructor.from_checkpoint(tmp_path / 'bare.pth', tiny_config(size=(64, 64), channels=5))


@pytest.mark.parametrize('where', ['model', 'pipeline', 'text'])
def test_config_in_a_checkpoint_runs_nothing(tmp_path, where):
    trace = tmp_path / 'trace'
    cfg = tiny_config()
    attack = dict(type='subprocess.Popen', args=['touch', str(trace)])
    text = None
    if where == 'model':
        cfg.model.neck = attack
    elif where == 'pipeline':
        cfg.train_dataloader.dataset.pipeline.insert(1, attack)
    else:
        text = f'import os\nos.system("touch {trace}")\n' + cfg.pretty_text
    good = tiny_config()
    path = save_checkpoint(tmp_path / 'evil.pth', good, text=text or cfg.pretty_text)
    with pytest.raises(ValueError, match='--config'):
        Reconstructor.from_checkpoint(path)
    assert not trace.exists()


def test_note_says_how_a_normalized_target_was_undone(tmp_path, checkpoint):
    assert Reconstructor.from_checkpoint(checkpoint).note('true') == ''
    cfg = tiny_config(target=[dict(type='LocalNorm', patch_size=15)])
    reconstructor = Reconstructor.from_checkpoint(save_checkpoint(tmp_path / 'n.pth', cfg))
    assert 'LocalNorm' in reconstructor.note('true') and 'whole image' in reconstructor.note('true')
    assert 'visible' in reconstructor.note('visible')


def _paint(tmp_path, size, box) -> str:
    hole = np.zeros(size, np.uint8)
    hole[box] = 255
    Image.fromarray(hole).save(tmp_path / 'mask.png')
    return str(tmp_path / 'mask.png')


@pytest.mark.parametrize('box', [np.s_[100:150, 200:290], np.s_[:, :40], np.s_[10:11, 10:11]])
@pytest.mark.parametrize('stats', ['true', 'visible'])
def test_only_the_hole_is_filled(tmp_path, checkpoint, photos, box, stats):
    chelsea = next(p for p in photos if 'chelsea' in p)
    reconstructor = Reconstructor.from_checkpoint(checkpoint)
    image, hole, filled = reconstructor.fill(chelsea, _paint(tmp_path, (300, 451), box), stats)
    expected = np.zeros((300, 451), bool)
    expected[box] = True
    np.testing.assert_array_equal(hole, expected)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    assert (filled[hole] != image[hole]).any()
    assert filled.min() >= 0 and filled.max() <= 255


def test_fill_does_not_see_what_the_hole_hides(tmp_path, photos):
    cfg = tiny_config(target=[dict(type='LocalNorm', patch_size=15)])
    reconstructor = Reconstructor.from_checkpoint(save_checkpoint(tmp_path / 'run.pth', cfg))
    chelsea = next(p for p in photos if 'chelsea' in p)
    # Whole tokens: the window is the image, 32 x 48 tokens of 8 pixels.
    image = np.asarray(Image.open(chelsea).resize((48, 32)))
    painted = image.copy()
    painted[8:24, 8:24] = 255 - painted[8:24, 8:24]
    mask = _paint(tmp_path, (32, 48), np.s_[8:24, 8:24])
    fills = []
    for name, pixels in (('a.png', image), ('b.png', painted)):
        Image.fromarray(pixels).save(tmp_path / name)
        fills.append(reconstructor.fill(tmp_path / name, mask)[2][8:24, 8:24])
    np.testing.assert_allclose(fills[0], fills[1], atol=1)


def test_hole_over_everything_is_refused(tmp_path, checkpoint, photos):
    mask = _paint(tmp_path, (300, 451), np.s_[:, :])
    with pytest.raises(ValueError, match='nothing to predict from'):
        Reconstructor.from_checkpoint(checkpoint).fill(photos[1], mask)


def test_images_of_five_bands(tmp_path):
    path = save_checkpoint(tmp_path / 'run.pth', tiny_config(channels=5))
    bands = np.random.RandomState(0).uniform(0, 3000, (50, 60, 5)).astype(np.float32)
    np.save(tmp_path / 'scene.npy', bands)
    reconstructor = Reconstructor.from_checkpoint(path)
    assert reconstructor.reconstruct([tmp_path / 'scene.npy'])['original'].shape == (1, 5, 32, 48)
    mask = _paint(tmp_path, (50, 60), np.s_[:20, :20])
    _, hole, filled = reconstructor.fill(tmp_path / 'scene.npy', mask)
    np.testing.assert_array_equal(filled[~hole], bands[~hole])
