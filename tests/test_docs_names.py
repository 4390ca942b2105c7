"""What the documentation names exists: commands, configs and their keys, paths, modules, types."""

import ast
import importlib
import inspect
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torchvision.transforms.v2
from docs_pages import PAGES, ROOT, blocks, commands, inline_code, name
from mmengine.config import Config, ConfigDict
from mmengine.registry import WEIGHT_INITIALIZERS, Registry

from simmim_mm import registry
from simmim_mm.cli import VERBS, parse_args

# Python blocks that tests run or build as they are, and old names.
PROBES = ('knn', 'linear', 'log')  # of a sweep: no registry has them
EXECUTED = (
    'docs/reference/design_space.md',
    *(name(page) for page in PAGES if page.parent.name == 'tutorials'),
)
PAGES = [page for page in PAGES if page.name != 'renamed.md']
CONFIGS = [path for path in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in path.parts]
FOLDERS = 'benchmarks|configs|docs|examples|requirements|simmim_mm|tests|tools'
PATH = re.compile(rf'^(?:{FOLDERS})/[\w./*-]+$')
CONFIG_NAME = re.compile(r'\b[a-z0-9-]+_[a-z0-9_-]+_\d+xb\d+-[\w-]+')
KEY = re.compile(r'^[a-z_]+(\.[a-z_0-9]+)+$')


@cache
def load(path: Path) -> ConfigDict:
    return Config.fromfile(path)._cfg_dict


def parameters(node: Any) -> set[str]:
    """Arguments of the registered class that the config ``node`` builds."""
    found = find_type(node['type']) if isinstance(node, ConfigDict) and 'type' in node else None
    if found is None:
        return set()
    classes = found.__mro__ if inspect.isclass(found) else [found]
    return {
        argument
        for cls in classes
        if (init := cls.__dict__.get('__init__') if inspect.isclass(cls) else cls)
        for argument in inspect.signature(init).parameters
    }


@cache
def find_type(kind: str) -> Any:
    """The class that ``kind`` stands for in a config; None if there is none."""
    for key in (kind, f'mmpretrain.{kind}'):
        for one in (*vars(registry).values(), WEIGHT_INITIALIZERS):
            if isinstance(one, Registry) and (found := one.get(key)):
                return found
    return getattr(torchvision.transforms.v2, kind, None)  # in TorchvisionTransform


def has(config: Any, key: str) -> bool:
    """The config has the dotted key, or its last part is an argument that the config leaves out."""
    node = config
    parts = key.split('.')
    for i, part in enumerate(parts):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return i == len(parts) - 1 and part in parameters(node)
    return True


def some_config_has(key: str) -> bool:
    return any(has(load(path), key) for path in CONFIGS)


def own_words(page: Path) -> set[str]:
    """Those of the files that a page writes and runs."""
    text = page.read_text() if name(page) in EXECUTED else ''
    return {word for _, block in blocks(text) for word in re.findall(r'\w+', block)}


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_configs_exist(page):
    stems = [path.stem for path in CONFIGS]
    for config in CONFIG_NAME.findall(page.read_text()):
        assert any(stem.startswith(config.rstrip('-')) for stem in stems), config


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_paths_exist(page):
    text = page.read_text()
    words = [word for block in blocks(text) for word in re.split(r'[\s\'"=(),`]+', block[1])]
    for path in [*inline_code(text), *words]:
        path = path.removesuffix('.')
        if not PATH.match(path) or re.search(r'/x\b|_x\b', path):
            continue
        assert list(ROOT.glob(path.rstrip('/'))), path


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_modules_and_their_names_exist(page):
    for dotted in re.findall(r'\bsimmim_mm(?:\.[A-Za-z_]\w*)+', page.read_text()):
        module, _, attribute = dotted.rpartition('.')
        if dotted.endswith('.py') or find_type(dotted.removeprefix('simmim_mm.')):
            continue
        # in this order: the import of simmim_mm.export finds the module of version 0.1
        if not hasattr(importlib.import_module(module), attribute):
            importlib.import_module(dotted)


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_types_of_snippets_are_registered_and_have_these_arguments(page):
    for language, block in blocks(page.read_text()):
        if language != 'python' or name(page) in EXECUTED:
            continue
        for call in ast.walk(ast.parse(block)):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != 'dict':
                continue
            arguments = {keyword.arg: keyword.value for keyword in call.keywords}
            kind = arguments.get('type')
            if not isinstance(kind, ast.Constant) or kind.value in PROBES:
                continue
            known = parameters(ConfigDict(type=kind.value))
            assert known, f'{kind.value} is not registered'
            assert {*arguments} - {'type', '_delete_', None} <= known, ast.unparse(call)


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_types_in_the_text_are_registered(page):
    for code in inline_code(page.read_text()):
        for kind in re.findall(r"type='([\w.]+)'", code):
            assert kind in {*PROBES, *own_words(page)} or find_type(kind), code


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_commands_are_understood(page):
    """Verbs, options and the number of arguments; what needs a file is not opened."""
    text = page.read_text()
    for command in commands(text):
        words = shlex.split(command)
        words = words[next((i for i, word in enumerate(words) if '=' not in word), 0) :]
        if words[0] == 'make':
            assert f'\n{words[1]}:' in (ROOT / 'Makefile').read_text(), command
        if words[0] == 'simmim':
            try:
                parse_args(words[1:])
            except SystemExit as end:
                assert not end.code and words[-1] == '--help', command
    for code in inline_code(text):
        if found := re.match(r'simmim ([a-z][\w-]*)', code):
            assert found[1] in VERBS, code


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_config_keys_exist(page):
    """Keys in the text in some config; those of a command in the config that it names."""
    text = page.read_text()
    for code in inline_code(text):
        key = code.partition('=')[0]
        if KEY.match(key) and key.split('.')[0] in TOP_LEVEL:
            assert some_config_has(key), key
    for command in commands(text):
        _, _, options = command.partition('--cfg-options ')
        if not options:
            continue
        named = CONFIG_NAME.search(command)
        for word in shlex.split(options):
            key, equals, _ = word.partition('=')
            if not equals:
                break
            if named:
                (path,) = [path for path in CONFIGS if path.stem == named[0]]
                assert has(load(path), key), (key, path.stem)
            else:
                assert some_config_has(key), key


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_identifiers_are_those_of_the_code(page):
    """Words in backticks that look like names: ``snake_case`` and ``CamelCase``."""
    known = {*WORDS, *OTHER_WORDS, *own_words(page)}
    for code in inline_code(page.read_text()):
        code = re.sub(r'\S*/\S*', '', CONFIG_NAME.sub('', code))  # paths have a test of their own
        for word in re.findall(r'\b(?:[a-z]+(?:_[a-z]+)+|(?:[A-Z]+[a-z]+){2,})\b', code):
            assert word in known or find_type(word), code


WORDS = {
    word
    for folder in ('simmim_mm', 'configs', 'tools', 'benchmarks', 'examples')
    for path in (ROOT / folder).rglob('*.py')
    for word in re.findall(r'\w+', path.read_text())
}
# Of other libraries, and of files that readers write.
OTHER_WORDS = {
    *('SwinForImageClassification', 'bgr_to_rgb', 'cross_entropy'),
    *('my_module', 'x_to_library', 'DetInferencer', 'MMSegInferencer'),
    *('GraceTime', 'KillWait', 'slurm_signal_delay_s'),  # of Slurm and submitit
}
TOP_LEVEL = {key for path in CONFIGS[:: len(CONFIGS) // 8] for key in load(path)}
