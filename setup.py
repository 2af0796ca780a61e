"Package metadata lives in settings.ini, where nbdev reads it too"

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here / 'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    license='Apache-2.0',
    keywords=cfg['keywords'].split(),
    python_requires=f'>={cfg["min_python"]}',
    packages=find_packages(include=[cfg['lib_path'], f'{cfg["lib_path"]}.*']),
    package_data={cfg['lib_path']: ['**/*.pyi', '*.pyi', 'py.typed', 'shipped/**/*']},
    install_requires=cfg['requirements'].split(),
    extras_require={'demo': cfg['demo_requirements'].split(), 'dev': cfg['dev_requirements'].split()},
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': [f'{cfg["lib_path"]}={cfg["lib_path"]}._modidx:d'],
    },
    zip_safe=False,
)
