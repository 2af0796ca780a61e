"One cache folder for the whole run, thrown away after it; no hub, no second thread"

import os

os.environ.update(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', MPLBACKEND='agg')
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest


@pytest.fixture(autouse=True, scope='session')
def cache(tmp_path_factory):
    os.environ['TROVE_NB_CACHE'] = str(tmp_path_factory.mktemp('cache'))
