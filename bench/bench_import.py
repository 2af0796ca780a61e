"""How long imports take, each in a process of its own, in turn with peers; medians.

python bench/bench_import.py [--repeats 5]"""

import argparse
import statistics
import subprocess
import sys
import time

TRAINING = 'from trove_nb import BiEncoderRetriever, BinaryDataset, IRMetrics, RetrievalTrainer'
PEER = 'from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer'
COMMAND = """import sys
sys.argv = ['trove-nb', '--help']
from trove_nb.scripts.cli import main_cli
main_cli()"""
STATEMENTS = {
    'python alone': 'pass',
    'import trove_nb': 'import trove_nb',
    'torch and transformers': 'import torch; from transformers import Trainer, AutoModel',
    'all that training needs': TRAINING,
    'sentence_transformers': PEER,
    'trove-nb --help': COMMAND,
}


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=5)
    repeats = parser.parse_args().repeats
    for code in STATEMENTS.values():
        seconds(code)  # files into the page cache
    taken = {name: [] for name in STATEMENTS}
    for _ in range(repeats):
        for name, code in STATEMENTS.items():
            taken[name].append(seconds(code))
    for name, times in taken.items():
        print(f'{name:<26} {statistics.median(times):6.2f} s   ({min(times):.2f} to {max(times):.2f})')


if __name__ == '__main__':
    main()
