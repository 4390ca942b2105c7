"""Files of unknown origin: harmless ones that would leave a trace if a guard failed."""

import json
import os
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_kinds import ARCH, pillow, pixels, run_config
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from PIL import EpsImagePlugin, Image

from simmim_mm.checkpoint import (
    CheckpointError,
    UnsafeCheckpoint,
    load_backbone,
    load_into,
    load_weights,
)
from simmim_mm.compression import prune_checkpoint
from simmim_mm.curation import inspect_coco, scan_folder, shard_folder, write_html
from simmim_mm.curation.inspection import inspect_file
from simmim_mm.datasets import ImageDataset, UnreadableImage
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import is_inside
from simmim_mm.datasets.image_headers import read_header
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.deploy.int8 import read_onnx
from simmim_mm.engine.checks import check_run
from simmim_mm.engine.resume import check_resumable
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.experiments.executors import make_executor
from simmim_mm.experiments.pretrained import read_pretrained
from simmim_mm.experiments.run_report import write_run_report
from simmim_mm.interop import convert_checkpoint, read_source
from simmim_mm.models.backbones import MaskedSwin
from simmim_mm.models.teachers.feature_teacher import stored_backbone
from simmim_mm.registry import MODELS
from simmim_mm.visualization.painted_mask import load_painted_mask
from simmim_mm.visualization.reconstructor import Reconstructor


@pytest.fixture
def trace(tmp_path) -> Path:
    """A file that is there if something has run."""
    return tmp_path / 'trace'


class LeavesATrace:
    """Unpickled, it does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def checkpoint(path: Path, cfg: Config | str, **others) -> Path:
    """A checkpoint of the run of :func:`run_config` that says its config is another."""
    init_default_scope('simmim_mm')
    torch.manual_seed(0)
    weights = MODELS.build(run_config().model).state_dict()
    text = cfg if isinstance(cfg, str) else cfg.pretty_text
    torch.save(dict(meta=dict(cfg=text), state_dict=weights, **others), path)
    return path


READERS: dict[str, Callable[[Path], object]] = dict(
    load_weights=load_weights,
    load_into=lambda path: load_into(torch.nn.Linear(2, 2), path),
    load_backbone=lambda path: load_backbone(MaskedSwin(ARCH), path),
    convert=lambda path: convert_checkpoint(path, path.with_name('out.pth')),
    read_source=read_source,
    read_pretrained=lambda path: read_pretrained('x', path),
    reconstruct=Reconstructor.from_checkpoint,
    embed=FeatureExtractor.from_checkpoint,
    teacher=stored_backbone,
)


@pytest.mark.parametrize('reader', READERS)
def test_no_reader_of_weights_runs_what_a_pickle_names(tmp_path, trace, reader):
    path = checkpoint(tmp_path / 'x.pth', run_config(), extra=[LeavesATrace(trace)])
    with pytest.raises(CheckpointError, match=r'x\.pth is refused'):
        READERS[reader](path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have


class Leads:
    """Unpickled, it takes ``name`` from ``owner``."""

    def __init__(self, owner, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


@pytest.mark.parametrize('name', ['fromkeys', '__init__', '__class__'])
def test_getattr_leads_from_no_class_to_its_functions(tmp_path, name):
    # A training that is resumed has mmengine read the file with the real getattr.
    path = checkpoint(tmp_path / 'x.pth', run_config(), extra=Leads(ConfigDict, name))
    with pytest.raises(UnsafeCheckpoint, match=r'x\.pth is refused: .*builtins\.getattr'):
        load_weights(path)
    path = checkpoint(path, run_config(), extra=Leads(HistoryBuffer, name), log=HistoryBuffer())
    if name.startswith('_'):
        with pytest.raises(UnsafeCheckpoint, match=r'builtins\.getattr'):
            check_resumable(path)
    path = checkpoint(path, run_config(), extra=Leads(HistoryBuffer, 'mean'), log=HistoryBuffer())
    load_weights(path)


def changed(**settings) -> Config:
    cfg = run_config()
    cfg.merge_from_dict(settings)
    return cfg


@pytest.fixture
def module(tmp_path, trace, monkeypatch):
    """A package that can be imported, and then leaves a trace."""
    (tmp_path / 'stranger').mkdir()
    for name in ('__init__.py', 'registry.py'):
        (tmp_path / 'stranger' / name).write_text(
            f'import os; os.makedirs({str(trace)!r}, exist_ok=True)'
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    return 'stranger'


CONFIGS = {
    'code': lambda: 'import os\n' + run_config().pretty_text,
    'a call': lambda: run_config().pretty_text + "\nx = __import__('os').getcwd()\n",
    'imports': lambda: changed(**{'custom_imports.imports': ['simmim_mm', 'stranger']}),
    'imports as text': lambda: changed(custom_imports=dict(imports='stranger')),
    'a scope': lambda: changed(default_scope='stranger'),
    'the scope of a part': lambda: changed(**{'model.backbone._scope_': 'stranger'}),
    'a function as a type': lambda: changed(**{'model.backbone.type': 'stranger.registry'}),
    'a pickle that mmengine loads': lambda: changed(
        **{'model.target': [dict(type='mmpretrain.CLIPGenerator', tokenizer_path='clip.pth')]}
    ),
    'weights of another library': lambda: changed(
        **{'model.target': [dict(type='mmpretrain.TIMMBackbone', model_name='x', pretrained=True)]}
    ),
}


@pytest.mark.parametrize('kind', CONFIGS)
def test_no_config_in_a_checkpoint_runs_or_imports_anything(
    tmp_path, trace, module, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)
    torch.save(LeavesATrace(trace), 'clip.pth')
    path = checkpoint(tmp_path / 'x.pth', CONFIGS[kind]())
    with pytest.raises(CheckpointError, match=r'the config in .*x\.pth is not read'):
        Reconstructor.from_checkpoint(path)
    assert not trace.exists()


def test_no_model_in_a_checkpoint_that_is_pruned_is_imported(tmp_path, trace, module):
    path = checkpoint(tmp_path / 'x.pth', changed(**{'model.type': 'stranger.registry'}))
    with suppress(ValueError):  # its backbone may be one of ours, and be pruned
        prune_checkpoint(path, tmp_path / 'pruned.pth', parameters=0.5)
    assert not trace.exists()


def test_a_config_that_the_user_gives_may_import(tmp_path, trace, module):
    path = checkpoint(tmp_path / 'x.pth', run_config())
    Reconstructor.from_checkpoint(path, CONFIGS['imports']())
    assert trace.exists()  # and so would that of a checkpoint


# ---- images ----
@pytest.fixture
def postscript(tmp_path, trace, monkeypatch) -> Path:
    """An EPS that is called PNG, and a Ghostscript that leaves a trace."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'gs').write_text(f'#!/bin/sh\nmkdir -p {trace}\nexit 1\n')
    (tools / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', str(tools), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)
    path = tmp_path / 'eps.png'
    path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n')
    return path


def test_no_reader_of_images_starts_a_program(tmp_path, trace, postscript):
    for load in (
        lambda: LoadImage()(dict(img_path=str(postscript))),
        lambda: load_segmentation_map(postscript),
        lambda: load_painted_mask(postscript, (9, 9)),
    ):
        with pytest.raises(ValueError, match=r'eps\.png'):
            load()
    assert read_header(str(postscript)).fault and inspect_file(str(postscript)).fault
    work = work_dir(tmp_path / 'work')
    (work / 'vis_data').mkdir()
    (work / 'vis_data' / 'reconstruction_1.png').write_bytes(postscript.read_bytes())
    write_run_report(work)
    assert not trace.exists()
    with suppress(Exception), Image.open(postscript) as image:
        image.load()
    assert trace.exists()


def test_an_array_of_objects_is_refused(tmp_path, trace):
    np.save(tmp_path / 'x.npy', np.array([LeavesATrace(trace)], dtype=object))
    with pytest.raises(UnreadableImage, match=r'x\.npy'):
        LoadImage()(dict(img_path=str(tmp_path / 'x.npy')))
    with pytest.raises(DataError, match=r'x\.npy'):
        load_segmentation_map(tmp_path / 'x.npy')
    assert not trace.exists()
    np.load(tmp_path / 'x.npy', allow_pickle=True)
    assert trace.exists()


# ---- annotations ----
@pytest.fixture
def data(tmp_path) -> Path:
    """A data root with an image, and an image beside it."""
    (tmp_path / 'data' / 'train').mkdir(parents=True)
    for name in ('data/train/in.png', 'out.png', 'data/in.png'):
        (tmp_path / name).write_bytes(pillow('PNG'))
    return tmp_path / 'data'


OUTSIDE = ('../../out.png', '{parent}/out.png', 'x/../../../out.png', 'http://127.0.0.1:9/out.png')


@pytest.mark.parametrize('name', OUTSIDE)
def test_a_list_does_not_lead_out_of_the_data_root(data, name):
    name = name.format(parent=data.parent)
    (data / 'list.txt').write_text(f'in.png\n../in.png\n{data}/in.png\n{name}\n')
    given = dict(data_root=str(data), data_prefix='train', ann_file='list.txt')
    with pytest.raises(DataError, match=r"list\.txt' names 1 files outside of"):
        ImageDataset(**given)
    assert len(ImageDataset(**given, trust_annotations=True)) == 4


def test_shards_do_not_lead_out_of_their_folder(data):
    """Neither does a manifest name a shard elsewhere, nor a shard a file elsewhere."""
    for name in ('own', 'other'):
        shard_folder(str(data / 'train'), str(data / name))
    path = data / 'own/manifest.json'
    manifest = json.loads(path.read_text())
    for name in ('../other/shard-000000.tar', f'{data}/other/shard-000000.tar', '..'):
        manifest['shards'][0]['name'] = name
        path.write_text(json.dumps(manifest))
        with pytest.raises(DataError, match=r'manifest\.json is no manifest.*of a shard in this'):
            len(ImageDataset(data_root=str(data / 'own')))
    assert len(ImageDataset(data_root=f'{data}/own/../other')) == 1  # it would have been found
    for name in ('manifest.json', 'settings.json'):
        (data / 'own' / name).unlink()
    index = data / 'own/shard-000000.tsv'
    index.write_text(index.read_text().replace('in.png', '../../in.png'))
    tar = data / 'foreign/a.tar'
    tar.parent.mkdir()
    with tarfile.open(tar, 'w') as file:
        file.add(data / 'in.png', 'x/../../in.png')
    for folder in (index.parent, tar.parent):
        with pytest.raises(DataError, match=r"names '.*\.\./in\.png', outside of the shard"):
            shard_folder(str(folder), str(data / 'again'))


def test_a_list_without_a_data_root_leads_anywhere(data):
    (data / 'list.txt').write_text(f'{data.parent}/out.png\n')
    assert len(ImageDataset(ann_file=str(data / 'list.txt'))) == 1


@pytest.mark.parametrize(
    ('path', 'root', 'inside'),
    [
        ('/a/b/c', '/a/b', True),
        ('/a/bc', '/a/b', False),
        ('/a/b/../c', '/a/b', False),
        ('x/y', '/', True),
        ('s3://a/b/c', 's3://a/b', True),
        ('s3://a/b/../c', 's3://a/b', False),
        ('s3://other/c', 's3://a/b', False),
        ('/etc/x', 's3://a/b', False),
        ('s3://a/b', '/', False),
    ],
)
def test_is_inside(path, root, inside):
    assert is_inside(path, root) is inside


def test_a_coco_json_does_not_lead_out_of_its_folder(data):
    box = dict(bbox=[1, 1, 5, 5], area=25, iscrowd=0)
    coco = dict(
        images=[dict(id=1, file_name='../../out.png', width=48, height=40)],
        annotations=[dict(id=1, image_id=1, category_id=1, **box)],
        categories=[dict(id=1, name='x')],
    )
    (data / 'a.json').write_text(json.dumps(coco))
    (problem,) = inspect_coco(data / 'a.json', data / 'train').refused
    assert problem.what == f'images are outside of {data / "train"}'


def labeled(data: Path, ann_file: str, **settings) -> Config:
    steps = [dict(type='mmpretrain.LoadImageFromFile'), dict(type='mmpretrain.PackInputs')]
    dataset = dict(type='mmpretrain.CustomDataset', data_root=str(data), ann_file=ann_file)
    dataset.update(data_prefix='train', pipeline=steps, metainfo=dict(classes=('a', 'b')))
    return Config(dict(train_dataloader=dict(batch_size=1, dataset=dataset), **settings))


def test_the_list_of_a_classifier_does_not_lead_out_of_the_data_root(data):
    (data / 'list.txt').write_text('in.png 0\n../../out.png 1\n')
    with pytest.raises(DataError, match=r'train_dataloader.dataset: .*1 files outside of'):
        check_run(labeled(data, 'list.txt'))
    check_run(labeled(data, 'list.txt', trust_annotations=True))


@pytest.mark.parametrize('name', ['a.pkl', 'a.yaml'])
def test_annotations_that_run_code_are_refused(data, trace, name):
    if name == 'a.pkl':
        (data / name).write_bytes(pickle.dumps(LeavesATrace(trace)))
    else:
        (data / name).write_text(f'!!python/object/apply:os.mkdir ["{trace}"]')
    cfg = labeled(data, name)
    cfg.train_dataloader.dataset.type = 'mmengine.BaseDataset'
    with pytest.raises(DataError, match=r'ann_file=.*may run any code'):
        check_run(cfg)
    assert not trace.exists()


def test_an_onnx_file_takes_no_weights_from_elsewhere(tmp_path):
    onnx = pytest.importorskip('onnx', reason="needs onnx: pip install '.[deploy]'")
    pytest.importorskip('onnxruntime', reason="needs onnxruntime: pip install '.[deploy]'")
    (tmp_path / 'models').mkdir()
    for name in ('secret.bin', 'models/own.bin'):
        (tmp_path / name).write_bytes(np.ones((2, 2), 'f4').tobytes())
    ends = [onnx.helper.make_tensor_value_info(name, 1, [2, 2]) for name in 'xy']

    def read(place: str) -> None:
        weight = onnx.TensorProto(name='w', dims=[2, 2], data_type=1, data_location=1)
        weight.external_data.add(key='location', value=place)
        node = onnx.helper.make_node('MatMul', ['x', 'w'], ['y'])
        graph = onnx.helper.make_graph([node], 'g', ends[:1], ends[1:], [weight])
        opset = onnx.helper.make_opsetid('', 18)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
        path = tmp_path / 'models' / 'x.onnx'
        path.write_bytes(model.SerializeToString())
        read_onnx(path)

    for place in ('../secret.bin', str(tmp_path / 'secret.bin')):
        with pytest.raises(ValueError, match=r'onnxruntime does not run .*x\.onnx'):
            read(place)
    with pytest.raises(ValueError, match=r'x\.onnx does not say how images are loaded'):
        read('own.bin')  # it would have been read


# ---- work dirs and pages ----
NASTY = '"><script>x</script><img src=x onerror=y>'


class Page(HTMLParser):
    """Whether a page has anything that loads or runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.bad: list[tuple] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        loads = [v for k, v in attrs if k in ('src', 'href') and not v.startswith('data:image/')]
        runs = [k for k, _ in attrs if k.startswith('on')]
        if tag in ('script', 'iframe', 'object', 'embed', 'link', 'base') or loads or runs:
            self.bad.append((tag, attrs))


def work_dir(folder: Path, config: str = '', name: str = 'loss') -> Path:
    """A work dir of a training; ``name`` is of a number that it has logged."""
    start = folder / '20260101_000000' / 'vis_data'
    start.mkdir(parents=True)
    (start / 'config.py').write_text(config)
    lines = [{'step': i, name: 1.0 / i, 'loss': 0.1, f'val/{name}': 1} for i in range(1, 5)]
    (start / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return folder


def test_a_report_on_a_work_dir_of_others_runs_nothing_of_it(tmp_path, trace):
    config = f'import os\nos.mkdir({str(trace)!r})\nmodel = dict(type="MaskedImageModel")\n'
    page = write_run_report(work_dir(tmp_path / 'work', config))
    assert not trace.exists()
    exec(compile((page.parent / '20260101_000000/vis_data/config.py').read_text(), 'x', 'exec'), {})
    assert trace.exists()


def test_the_result_of_a_job_that_a_work_dir_names_runs_nothing(tmp_path, trace, monkeypatch):
    pytest.importorskip('submitit', reason="needs submitit: pip install '.[cluster]'")
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    (tmp_path / 'squeue').write_text('#!/bin/sh\n')
    (tmp_path / 'squeue').chmod(0o755)
    monkeypatch.setattr('shutil.which', lambda name: str(tmp_path / name))
    executor = make_executor('slurm', tmp_path / 'own', options=dict(timeout_min=9))
    path = tmp_path / '7_0_result.pkl'

    def wait_for(result):
        path.write_bytes(pickle.dumps(result))
        return executor.rejoin(dict(id='7', folder=str(tmp_path))).poll()

    assert wait_for(('success', 3)) == 3
    assert wait_for(('error', 'a reason\n')) == 'Slurm job 7 failed: a reason'
    for hostile in (('success', LeavesATrace(trace)), LeavesATrace(trace)):
        text = wait_for(hostile)
        assert '7_0_result.pkl is not read as a result: it names posix.mkdir' in text
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()


def test_a_report_escapes_every_name(tmp_path):
    folder = tmp_path / NASTY.replace('/', '')
    config = f'x = {NASTY + "</pre>"!r}\nmodel = dict(type="MaskedImageModel")\n'
    work = work_dir(folder, config, name=NASTY)
    (work / 'epoch_1.pth').touch()
    start = work / '20260101_000000'
    (start / 'x.log').write_text(f'System environment:\n{NASTY}</pre>\n' + '-' * 30)
    text = write_run_report(work).read_text()
    assert '&lt;script&gt;' in text and not Page(text).bad


def test_the_page_of_a_scan_escapes_every_name(tmp_path):
    folder = tmp_path / NASTY.replace('/', '')
    folder.mkdir()
    image = Image.fromarray(pixels())
    for name in (NASTY.replace('/', '') + '1.png', NASTY.replace('/', '') + '2.png'):
        image.save(folder / name)
    (folder / (NASTY.replace('/', '') + '3.png')).write_bytes(b'<script>')
    write_html(scan_folder(str(folder)), tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert '&lt;script&gt;' in text and not Page(text).bad


def test_the_check_of_pages_sees_what_it_looks_for():
    assert Page(NASTY).bad and Page('<a href="http://x">').bad and not Page('<p>x').bad
