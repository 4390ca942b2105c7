"""The list of configs, their READMEs, and the names of version 0.1."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from config_files import RENAMED, ROOT, build_model, load
from mmengine.config import Config
from mmengine.registry import init_default_scope

from simmim_mm import _renamed
from simmim_mm.catalog import find_config, list_configs
from simmim_mm.cli.common import load_config
from simmim_mm.registry import MODELS

V0_1 = Path(__file__).parents[1] / 'fixtures' / 'v0_1'
MICRO = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px'
OLD = 'downstream/classification/linear_vit-micro-p8_1xb64-coslr-50e_folder-96px.py'


def test_every_config_begins_with_a_summary():
    entries = list_configs()
    assert len(entries) > 60
    for name, path, summary in entries:
        first, second = path.read_text().splitlines()[:2]
        assert first == f'# {summary}' and 20 < len(summary) <= 100, name
        assert second == '#' or not second.startswith('#'), f'{name}: the summary is one line'
        assert re.fullmatch('[A-Z].*[^.]\\.', summary), name
    assert len({entry.summary for entry in entries}) == len(entries)


def test_the_list_is_that_of_the_files_and_can_be_narrowed():
    everything = {str(p.relative_to(ROOT)) for p in ROOT.rglob('*.py') if '_base_' not in p.parts}
    assert {f'{entry.name}.py' for entry in list_configs()} == everything
    assert [entry.name for entry in list_configs(MICRO)] == [
        f'pixmim/pixmim_{MICRO}',
        f'simmim/{MICRO}',
    ]
    assert {entry.name.split('/')[0] for entry in list_configs('mae*_in1k')} >= {'mae', 'pixmim'}
    assert list_configs('no such config') == []


def test_listing_is_quick_and_imports_neither_torch_nor_mmengine():
    code = (
        'import sys, time; start = time.perf_counter(); from simmim_mm import catalog; '
        'count = len(catalog.list_configs()); seconds = time.perf_counter() - start; '
        'print(count, seconds, *{"torch", "mmengine", "numpy"} & set(sys.modules))'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    count, seconds, *imported = result.stdout.split()
    assert int(count) == len(list_configs()) and imported == []
    assert float(seconds) < 0.2


@pytest.mark.parametrize('name', [MICRO, f'simmim/{MICRO}', f'configs/simmim/{MICRO}.py'])
def test_configs_are_found_by_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, options = find_config(name)
    assert path.samefile(ROOT / 'simmim' / f'{MICRO}.py') and options == {}
    assert load_config(name).model.type == 'MaskedImageModel'
    (tmp_path / 'configs/simmim').mkdir(parents=True)
    (tmp_path / f'configs/simmim/{MICRO}.py').write_text('own = True')
    assert load_config(f'configs/simmim/{MICRO}.py').own  # an existing file is meant


@pytest.mark.parametrize(
    'name', ['swin', 'simmim', f'/nowhere/simmim/{MICRO}.py', 'simmim/none.py']
)
def test_other_names_are_no_configs(name):
    with pytest.raises(FileNotFoundError, match=f'no config file {name}($|; did you mean)'):
        find_config(name)


# -- Version 0.1 -----------------------------------------------------------------------------------


def test_an_old_name_loads_with_one_warning(monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        cfg = load_config(ROOT / OLD)
        load_config(Path(OLD).stem)
    (text,) = [str(w.message) for w in caught if w.category is FutureWarning]
    new = RENAMED[OLD]['config']
    assert text.startswith(f'the config {OLD} is now {new} with other values of model.backbone;')
    assert cfg.model.backbone.type == 'simmim_mm.MaskedViT'
    assert load(new).model.backbone.type == 'simmim_mm.MaskedSwin'


def test_every_config_of_version_0_1_is_a_file_or_renamed():
    old = {
        name.removeprefix('configs/')
        for name in json.loads((V0_1 / 'public_configs.json').read_text())
    }
    leaves = {name for name in old if '_base_' not in name}
    gone = {name for name in leaves if not (ROOT / name).is_file()}
    assert gone == set(RENAMED) and len(leaves) > 90
    for name, entry in RENAMED.items():
        assert (ROOT / entry['config']).is_file(), name
        assert entry.keys() <= {'config', 'options'}


# Derived by the model now, without effect, or given by `--pretrained`.
DERIVED = re.compile(
    r'neck\.(in_channels|out_channels|stride|patch_size|img_size|with_cls_token)'
    r'|head\.in_channels|target\.\d\.patch_size|foreground\.neck\.\w+'
    r'|backbone\.(in_channels|mask_mode|init_cfg.*)'
)
TYPES = dict(SimMIM='MaskedImageModel', ImageClassifier='simmim_mm.Classifier')
SETTINGS = (
    *[f'{part}_{kind}' for part in ('train', 'val', 'test') for kind in ('dataloader', 'cfg')],
    *('val_evaluator', 'test_evaluator', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'),
    *('default_hooks', 'custom_hooks', 'custom_imports', 'default_scope', 'randomness', 'env_cfg'),
    *('log_processor', 'visualizer'),
)
# Runs that diverge stop, in detectors and segmenters too.
SAFER = re.compile(r'default_hooks\.checkpoint\.type|custom_hooks(\.\d\.type)?')
FASTER = re.compile(r'\w+_dataloader\.collate_fn\.type')  # the same batches, in one piece


def flat(node, where='') -> dict:
    """Values by dotted key."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found = {}
    for key, value in items:
        key = f'{where}.{key}' if where else str(key)
        nested = isinstance(value, (dict, list, tuple))
        found.update(flat(value, key) if nested else {key: TYPES.get(value, value)})
    return found


@pytest.mark.parametrize(
    'path', sorted((V0_1 / 'resolved').glob('*.py')), ids=lambda path: path.stem
)
def test_settings_are_those_of_version_0_1(path):
    """All that a Runner reads, and the model that is built."""
    (name,) = [
        n
        for n in [*RENAMED, *(f'{e.name}.py' for e in list_configs())]
        if Path(n).stem == path.stem
    ]
    old, new = Config.fromfile(path), load(name)
    scope = new.get('default_scope')
    if scope != 'simmim_mm':
        pytest.importorskip(scope)
    if scope == 'mmdet':
        pytest.importorskip('mmcv.ops')
    for key in SETTINGS:
        before, after = flat({key: old.get(key)}), flat({key: new.get(key)})
        for found in (before, after):
            for name in list(found):
                better = SAFER.fullmatch(name) or FASTER.fullmatch(name)
                if better or name.endswith('.token_stride'):
                    del found[name]
        after = {k: v for k, v in after.items() if v != 'nodata'}  # packed since 0.2
        assert after == before
    before, after = (
        {k: v for k, v in flat(cfg.model).items() if not DERIVED.fullmatch(k)} for cfg in (old, new)
    )
    assert after == before
    states = []
    for cfg in (old, new):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)
            model = build(cfg)
        states.append({k: (v.shape, v.requires_grad) for k, v in model.named_parameters()})
    assert states[0] == states[1]


def build(cfg):
    if cfg.default_scope == 'simmim_mm':
        return build_model(cfg)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


# -- READMEs ---------------------------------------------------------------------------------------

READMES = [p for p in sorted(ROOT.rglob('README.md')) if '_base_' not in p.parts]


@pytest.mark.parametrize('path', READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_readme_lists_the_configs_of_its_folder(path):
    text = path.read_text()
    for config in path.parent.glob('*.py'):
        row = f'| [{config.stem}]({config.name}) | {config.read_text().splitlines()[0][2:]} |'
        assert row in text.splitlines(), config.name
    linked = set(re.findall(r'\]\(([\w.-]+\.py)\)', text))
    assert linked == {config.name for config in path.parent.glob('*.py')}
    for commands in re.findall(r'```bash\n(.*?)```', text, re.S):
        assert max(map(len, commands.splitlines())) <= 80


def test_every_folder_with_configs_has_a_readme():
    assert {entry.path.parent for entry in list_configs()} <= {path.parent for path in READMES}


SNIPPETS = [
    (path, text)
    for path in READMES
    for text in re.findall(r'```python\n(.*?)```', path.read_text(), re.S)
]


@pytest.mark.parametrize(
    ('path', 'text'), SNIPPETS, ids=[str(path.parent.relative_to(ROOT)) for path, _ in SNIPPETS]
)
def test_snippets_are_configs_that_build(path, text, tmp_path):
    folder = ROOT.parent if path.parent == ROOT else path.parent
    text = re.sub(r"'([\w./-]+\.py)'", lambda match: repr(str(folder / match[1])), text)
    (tmp_path / 'config.py').write_text(text)
    cfg = Config.fromfile(tmp_path / 'config.py')
    if cfg.default_scope in ('mmdet', 'mmseg'):
        pytest.importorskip('mmcv.ops')
        pytest.importorskip(cfg.default_scope)
    build(cfg)
