"""Teachers beside pixels and in their place."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.models.utils import resize_pos_embed
from teacher_toys import (
    ALONE,
    STATS,
    STUDENTS,
    SWIN,
    VIT,
    WIDE,
    build,
    samples,
    write_teacher,
)
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from simmim_mm.checkpoint import CheckpointError, load_into, load_weights
from simmim_mm.interop import read_source
from simmim_mm.registry import MODELS
from simmim_mm.visualization.reconstructor import Reconstructor


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp('teacher'))


def frozen(checkpoint, **kwargs):
    return dict(type='FeatureTeacher', checkpoint=checkpoint, half=False, **kwargs)


def images(count=2, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def total(model, x=None, data_samples=None):
    losses = model.loss(images() if x is None else x, data_samples or samples())
    return model.parse_losses(losses)[0], losses


def test_features_are_compared_at_every_position_after_projection(checkpoint):
    """In float64, gradients included, against the two networks called by hand."""
    model = build('vit', frozen(checkpoint, loss_weight=0.5)).double()
    teacher = build('vit', seed=1).double()  # any model, for its data preprocessor
    network = copy.deepcopy(model.teacher.network)
    x, mask = images().double(), torch.eye(4, dtype=torch.bool).expand(2, -1, -1)
    loss, losses = total(model, x)
    loss.backward()
    got = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    pixels = teacher.data_preprocessor.denormalize(x)  # the teacher's mean is another
    (target,) = network((pixels - 100) / 60)
    target = F.interpolate(target, (4, 4), mode='bilinear', antialias=True)
    (feats,) = model.backbone(x, mask)
    pred = torch.einsum('oc,bchw->bohw', model.teacher.projectors.features[0].weight, feats)
    pred = pred + model.teacher.projectors.features[0].bias[:, None, None]
    cosine = (pred * target).sum(1) / (pred.norm(dim=1) * target.norm(dim=1))
    expected = 0.5 * (1 - cosine.mean())
    torch.testing.assert_close(losses['loss_features'], expected, rtol=1e-9, atol=0)
    pixel_loss = model.head.loss(model.neck((feats,), mask), x, mask)['loss']
    torch.testing.assert_close(loss, expected + pixel_loss, rtol=1e-9, atol=0)
    (expected + pixel_loss).backward()
    for name, grad in got.items():
        wanted = model.get_parameter(name).grad
        torch.testing.assert_close(grad, wanted, rtol=1e-6, atol=1e-9, msg=name)


def test_relations_are_those_of_the_attention_of_both(checkpoint):
    """Among the visible tokens of MAE, with the teacher's of the same places."""
    teacher = frozen(checkpoint, relation=('qk', 'vv'), heads=2, layers=1, img_size=16)
    model = build('mae', teacher).double()
    x, mask = images().double(), torch.eye(4, dtype=torch.bool).expand(2, -1, -1)
    _, losses = total(model, x)

    def qkv(network, x, layer, embed):
        block = network.layers[layer]
        for previous in network.layers[:layer]:
            embed = previous(embed)
        return block.attn.qkv(block.ln1(embed)).chunk(3, -1)

    def embed(network, x):
        tokens, grid = network.patch_embed(x)
        pos = resize_pos_embed(network.pos_embed, network.patch_resolution, grid, 'bicubic', 1)
        return torch.cat([network.cls_token.expand(2, -1, -1), tokens], 1) + pos

    pixels = F.interpolate(60 * x + 120, (16, 16), mode='bicubic', antialias=True)
    network = model.teacher.network
    wide = qkv(network, x, 1, embed(network, (pixels - 100) / 60))
    visible = (~mask[0]).flatten().nonzero()[:, 0] + 1  # behind the class token
    tokens = embed(model.backbone, x)[:, [0, *visible.tolist()]]
    own = qkv(model.backbone, x, 1, tokens)
    for name, (i, j) in dict(qk=(0, 1), vv=(2, 2)).items():
        expected = 0
        for group in range(2):
            s, t = slice(4 * group, 4 * group + 4), slice(6 * group, 6 * group + 6)
            a, b = (own[k][:, 1:, s] for k in (i, j))
            student = (a @ b.transpose(1, 2) / 2).softmax(-1)
            a, b = (wide[k][:, visible, t] for k in (i, j))
            wanted = (a @ b.transpose(1, 2) / 6**0.5).softmax(-1)
            expected = expected + (wanted * (wanted / student).log()).sum(-1).mean() / 2
        torch.testing.assert_close(losses[f'loss_{name}'], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('name', ['vit', 'swin'])
def test_the_relations_of_a_network_with_itself_are_the_same(name, tmp_path):
    backbone = dict(STUDENTS[name][0])
    model = build(name, frozen(write_teacher(tmp_path, backbone), relation=('qk', 'vv')), ALONE)
    own = model.teacher.own_stats
    model.teacher.own_stats = (None, None)
    model.teacher.set_pixel_stats(model.data_preprocessor.mean, model.data_preprocessor.std)
    model.backbone.load_state_dict(model.teacher.network.state_dict())
    model.teacher.whole_image = True
    assert own[0] == [100.0] * 3
    assert total(model)[0].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('parts', [None, ALONE], ids=['beside pixels', 'alone'])
@pytest.mark.parametrize('student', ['vit', 'mae', 'swin'])
def test_the_loss_falls_and_the_teacher_stays_as_it_is(student, parts, checkpoint):
    model = build(student, frozen(checkpoint, whole_image=parts is ALONE), parts)
    before = copy.deepcopy(model.teacher.network.state_dict())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    data_samples = [] if parts is ALONE else samples()
    history = []
    for _ in range(20):
        loss, losses = total(model.train(), data_samples=data_samples)
        history.append(losses['loss_features'].item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[-1] < 0.6 * history[0]
    assert losses['teacher_time'] > 0
    after = model.teacher.network
    assert all(torch.equal(before[name], value) for name, value in after.state_dict().items())
    assert not after.training and all(p.grad is None for p in after.parameters())
    inside = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
    assert not inside & {id(p) for p in after.parameters()}


def test_the_teacher_follows_to_another_precision_and_is_copied_with_the_model(checkpoint):
    model = build('vit', frozen(checkpoint)).double()
    assert all(p.dtype == torch.float64 for p in model.teacher.network.parameters())
    other = copy.deepcopy(model)
    assert torch.equal(total(other, images().double())[0], total(model, images().double())[0])


def test_half_precision_is_close_and_can_be_left_out(checkpoint):
    exact = build('vit', frozen(checkpoint)).teacher(images())[0]
    model = build('vit', dict(frozen(checkpoint), half=True))
    half = model.teacher(images())[0]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ('relation', 'student', 'parts', 'whole'),
    [
        ('features', 'vit', None, False),
        ('features', 'mae', None, True),
        ('features', 'swin', ALONE, True),
        ('qk', 'vit', ALONE, False),
        ('qk', 'swin', ALONE, True),
        ('pooled', 'resnet', ALONE, True),
    ],
)
def test_every_parameter_that_is_trained_takes_part(
    relation, student, parts, whole, checkpoint, tmp_path
):
    """Which DistributedDataParallel asks for."""
    distributed.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        teacher = frozen(checkpoint, relation=relation, whole_image=whole, heads=2)
        model = build(student, teacher, parts)
        model.forward = lambda x, s: model.parse_losses(model.loss(x, s))[0]
        wrapped = DistributedDataParallel(model)
        for _ in range(2):
            wrapped(images(side=64 if student == 'resnet' else 32), samples()).backward()
    finally:
        distributed.destroy_process_group()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert [name for name in trained if model.get_parameter(name).grad is None] == []
    assert sum(name.startswith('backbone') for name in trained) > 10


def train(tmp_path, teacher, epochs, resume=False, student='vit'):
    """Two steps an epoch, with a checkpoint after each epoch."""
    backbone, parts = STUDENTS[student]
    torch.manual_seed(0)
    config = dict(
        custom_imports=dict(imports=['simmim_mm']),
        model=dict(
            type='simmim_mm.MaskedImageModel',
            backbone=dict(backbone, type=f'simmim_mm.{backbone["type"]}'),
            data_preprocessor=STATS,
            teacher=teacher,
            **parts,
        ),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=dict(
            batch_size=4,
            dataset=dict(type='_Noise'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        resume=resume,
        randomness=dict(seed=0),
        default_scope='simmim_mm',
    )
    runner = Runner.from_cfg(Config(config))
    runner.train()
    return runner


@pytest.mark.parametrize('kind', ['frozen', 'average'])
def test_a_resumed_training_is_the_same_to_the_last_bit(kind, checkpoint, tmp_path, fresh_process):
    teacher = frozen(checkpoint) if kind == 'frozen' else dict(type='EMATarget', rank_interval=2)
    whole = train(tmp_path / 'whole', teacher, 3).model.state_dict()
    fresh_process()
    train(tmp_path / 'parts', teacher, 1)
    fresh_process()
    resumed = train(tmp_path / 'parts', teacher, 3, resume=True)
    assert resumed.iter == 6
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole[name]), name
    stored = load_weights(tmp_path / 'whole/work/epoch_3.pth')['state_dict']
    extra = {name for name in stored if name.startswith('teacher.')}
    if kind == 'frozen':  # the hash of its weights alone, and the projector
        projector = {f'teacher.projectors.features.0.{name}' for name in ('weight', 'bias')}
        assert extra == {'teacher.fingerprint', *projector}
        assert stored['teacher.fingerprint'].numel() == 32
    else:  # once, and it is no copy of the student
        average = [name for name in extra if name.startswith('teacher.average.')]
        assert len(average) == sum(name.startswith('backbone.') for name in stored)
        key = 'layers.0.attn.qkv.weight'
        assert not torch.equal(stored[f'teacher.average.{key}'], stored[f'backbone.{key}'])
        assert stored['teacher.updates'] == 6


def test_another_teacher_than_that_of_the_training_is_refused(checkpoint, tmp_path):
    state = build('vit', frozen(checkpoint)).state_dict()
    other = build('vit', frozen(write_teacher(tmp_path, seed=8)))
    with pytest.raises(CheckpointError, match=r'another teacher: .* have SHA-256 [0-9a-f]{12}'):
        other.load_state_dict(state)
    build('vit', frozen(checkpoint), seed=2).load_state_dict(state)


def test_export_and_pictures_need_no_teacher(checkpoint, tmp_path):
    runner = train(tmp_path, frozen(checkpoint), 1)
    file = tmp_path / 'work/epoch_1.pth'
    source = read_source(file)
    assert source.state_dict and not any('teacher' in name for name in source.state_dict)
    config = runner.cfg
    config.model.teacher.checkpoint = '/gone.pth'
    steps = [dict(type='LoadImage'), dict(type='RandomBlockMask', mask_patch_size=8)]
    config.train_dataloader = dict(dataset=dict(pipeline=steps))
    model = Reconstructor.from_checkpoint(file, config).model
    assert model.teacher is None
    assert torch.equal(model.backbone.pos_embed, runner.model.backbone.pos_embed)


def test_validation_scores_each_image_by_itself(checkpoint):
    model = build('mae', frozen(checkpoint, relation=('features', 'qk'), heads=2)).eval()
    scored = model.predict(images(), samples())
    for i, sample in enumerate(scored):
        alone = model.loss(images()[i : i + 1], samples(1))
        assert sample.masked_losses.keys() == {'loss', 'loss_features', 'loss_qk'}
        for name, value in sample.masked_losses.items():
            assert value == pytest.approx(alone[name].item(), rel=1e-4), name


def test_compiled_losses_are_the_plain_ones(checkpoint):
    torch.compiler.reset()
    teacher = frozen(checkpoint, relation=('features', 'qk'), heads=2)
    plain = build('vit', teacher)
    compiled = build('vit', teacher, compile=dict(backend='eager', fullgraph=True))
    for _ in range(2):
        a, b = total(plain)[0], total(compiled)[0]
        torch.testing.assert_close(b, a, rtol=1e-5, atol=0)
    a.backward()
    b.backward()
    for (name, p), q in zip(plain.named_parameters(), compiled.parameters()):
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-6, msg=name)
    torch.compiler.reset()


def test_teachers_of_timm_and_mmpretrain(tmp_path):
    timm = pytest.importorskip('timm')
    arguments = dict(embed_dim=12, depth=2, num_heads=2, img_size=32, patch_size=8)
    torch.manual_seed(5)
    vit = timm.create_model('vit_tiny_patch16_224', num_classes=4, **arguments)
    torch.save(vit.state_dict(), tmp_path / 'timm.pth')
    backbone = dict(type='TimmFeatures', model_name='vit_tiny_patch16_224', **arguments)
    teacher = frozen(str(tmp_path / 'timm.pth'), backbone=backbone, relation=('features', 'vv'))
    model = build('vit', dict(teacher, heads=2, mean=[0.0] * 3, std=[255.0] * 3))
    x = images()
    expected = vit.eval().forward_features((60 * x + 120) / 255)[:, 1:]
    given = model.teacher(x)[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
    assert total(model)[0].isfinite()

    swin = dict(embed_dim=12, depths=(1, 1), num_heads=(2, 2), window_size=4)
    network = timm.create_model('swin_tiny_patch4_window7_224', img_size=32, **swin)
    torch.save(network.state_dict(), tmp_path / 'swin.pth')
    backbone = dict(type='TimmFeatures', model_name='swin_tiny_patch4_window7_224', **swin)
    teacher = frozen(str(tmp_path / 'swin.pth'), backbone=backbone, img_size=32, heads=2)
    assert total(build('vit', teacher))[0].isfinite()
    with pytest.raises(ValueError, match='is given windows, in an order of its own'):
        total(build('vit', dict(teacher, relation='qk', layers=0)))

    backbone = dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=32, patch_size=8)
    network = MODELS.build(backbone)
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'mm.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'mm.pth'))
    model = build('swin', dict(type='FeatureTeacher', backbone=dict(backbone, init_cfg=init)))
    assert torch.equal(model.teacher.network.pos_embed, network.pos_embed)
    assert total(model)[0].isfinite()


WRONG = {
    'no weights': (dict(type='FeatureTeacher'), 'the teacher has no weights: give checkpoint'),
    'missing file': (dict(checkpoint='/gone.pth'), 'no checkpoint file at /gone.pth'),
    'unknown relation': (dict(relation='kq'), 'relation .* one or several of .*, got kq'),
    'unsuited loss': (dict(relation='qk', loss='cosine'), "loss='cosine' .* choose 'kl'"),
    'divergence of features': (dict(loss='kl'), "loss='kl' .* choose 'cosine' or 'l1'"),
    'widths without projector': (dict(projector='none'), '8 and 12 channels'),
    'unknown layer': (dict(student_layers=0, layers=1), 'gives no map of 0, but of'),
    'heads that do not divide': (dict(relation='qk'), '3 heads do not divide a width of 8'),
    'attention block': (dict(relation='qk', layers=9, heads=2), 'attention blocks 0 to 2'),
    'one layer for two': (dict(layers=(0, 1)), 'are to be as many'),
}


@pytest.mark.parametrize('case', WRONG)
def test_what_does_not_go_together_is_one_clear_line(case, checkpoint):
    changed, message = WRONG[case]
    teacher = changed if 'type' in changed else {**frozen(checkpoint), **changed}
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        build('vit', teacher)
    assert '\n' not in str(error.value)


def test_pairs_that_are_not_supported_are_one_clear_line(checkpoint, tmp_path):
    relation = frozen(checkpoint, relation='qk', heads=2)
    with pytest.raises(ValueError, match='needs attention, which the student MaskedResNet has not'):
        build('resnet', relation)
    with pytest.raises(ValueError, match='windows of visible tokens'):
        build('sparse', relation)
    both = dict(relation, relation=('features', 'qk'), student_layers=1, layers=2)
    with pytest.raises(ValueError, match=r'numbers blocks, and features number stages of the stu'):
        build('swin', both)
    with pytest.raises(ValueError, match='give both, or none'):
        build('vit', None, ALONE)
    torch.save(dict(state_dict=build('vit').state_dict()), tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match=r'carries no config.*model\.teacher\.backbone'):
        build('vit', frozen(str(tmp_path / 'bare.pth')))
    gray = dict(type='MaskedViT', arch=WIDE, img_size=32, patch_size=4, in_channels=1)
    with pytest.raises(ValueError, match='does not take images of 3 channels and 32x32 pixels'):
        build('vit', frozen(write_teacher(tmp_path, gray, seed=9)))
    swin = dict(type='MaskedSwin', arch=SWIN, img_size=32, window_size=4, out_indices=(1,))
    with pytest.raises(CheckpointError, match=r'model\.teacher: .* is not of this MaskedSwin'):
        build('vit', frozen(checkpoint, backbone=swin))


def test_earlier_stages_of_a_sparse_swin_are_compared_where_they_are_visible(tmp_path):
    swin = dict(STUDENTS['sparse'][0], mask_mode='token')
    teacher = frozen(write_teacher(tmp_path, swin), layers=(0, 1), student_layers=(0, 1))
    model = build('sparse', dict(teacher, projector='none', loss='l2'), ALONE)
    model.teacher.own_stats = (None, None)
    model.teacher.set_pixel_stats(model.data_preprocessor.mean, model.data_preprocessor.std)
    weights = model.teacher.network.state_dict()
    load_into(model.backbone, weights)
    nothing = samples()
    for sample in nothing:
        sample.mask = torch.zeros(4, 4, dtype=torch.bool)
    loss, _ = total(model, data_samples=nothing)
    # all is visible: the same network gives the same features in the same places, and the norm of
    # its output is the one of the target, up to eps
    assert loss.item() < 1e-4
