"""Packaging. As OpenMMLab's wheels, ours carries configs and tools, in ``simmim_mm/.mim``."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_FILES = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Adds ``.mim``: copies in a wheel, links in an editable install, which follow the sources."""

    def run(self) -> None:
        super().run()
        editable = getattr(self, 'editable_mode', False)
        folder = (ROOT if editable else Path(self.build_lib)) / 'simmim_mm' / '.mim'
        folder.mkdir(parents=True, exist_ok=True)
        for name in MIM_FILES:
            source, target = ROOT / name, folder / name
            if editable:
                if not target.is_symlink():
                    target.symlink_to(Path('..', '..', name))
            elif source.is_dir():
                ignore = shutil.ignore_patterns('__pycache__', '*.py[cod]')
                shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)


def requirements(*names: str) -> list:
    """The lines of ``requirements/NAME.txt``, without comments."""
    lines = []
    for name in names:
        lines += (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    text = (ROOT / 'simmim_mm' / 'version.py').read_text()
    return text.split("'")[1]


setup(
    name='simmim_mm',
    version=version(),
    description='Masked image modeling on pixels (SimMIM, PixMIM and relatives) for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='masked image modeling, self-supervised pretraining, SimMIM, PixMIM, mmengine',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['simmim_mm', 'simmim_mm.*']),
    entry_points={'console_scripts': ['simmim = simmim_mm.cli:main']},
    package_data={'simmim_mm': ['py.typed', '*.pyi', 'datasets/*.txt']},
    # The stack itself is an extra: an environment may hold either line of OpenMMLab, the original
    # or the maintained one, and the two install the same modules. `import simmim_mm` checks it.
    install_requires=requirements('runtime'),
    extras_require={
        'stack': requirements('stack'),
        'demo': requirements('demo'),
        'formats': requirements('formats'),
        'deploy': requirements('deploy'),
        'trackers': requirements('trackers'),
        'board': requirements('board'),
        'robustness': requirements('robustness'),
        'remote': requirements('remote'),
        'cluster': requirements('cluster'),
        'ray': requirements('ray'),
        'detection': requirements('detection'),
        'segmentation': requirements('segmentation'),
        'docs': requirements('docs'),
        'development': requirements('tests', 'lint'),
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
