"""Write a made-up collection in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/train.tsv

    python bench/make_collection.py FOLDER [--docs 1000000] [--queries 100000] [--judged 31] [--words 37]

The same arguments give the same bytes. Texts are words of seven letters, ids are numbers without leading
zeros in an order that isn't that of the file, each judged query has one positive (score 1) at a random
place among negatives (score 0), and no passage is judged twice for a query. A line of the corpus has
about 10 bytes per word above 50: 37 words are about 350 bytes, 8 words about 110."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

CHUNK = 1 << 16  # lines that are put together at a time


def number_columns(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    "Decimal digits as ASCII, right-aligned, and which of them are written"
    digits = len(str(int(numbers.max())))
    powers = 10 ** np.arange(digits)[::-1]
    written = (numbers[:, None] >= powers) | (powers == 1)
    return (numbers[:, None] // powers % 10 + ord('0')).astype(np.uint8), written


class Words:
    "Random words, eight bytes each with their space"

    def __init__(self, rng: np.random.Generator, n: int = 1 << 14):
        self.rng = rng
        self.bytes = np.full((n, 8), ord(' '), np.uint8)
        self.bytes[:, :7] = rng.integers(ord('a'), ord('z') + 1, (n, 7))

    def columns(self, lines: int, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        "Between `least` and `most` words a line, and which of the bytes are written"
        text = self.bytes[self.rng.integers(0, len(self.bytes), (lines, most))].reshape(lines, most * 8)
        n = self.rng.integers(least, most + 1, lines)
        return text, np.arange(most * 8) < n[:, None] * 8 - 1


def joined(lines: int, *parts) -> bytes:
    "Constant bytes and columns side by side, without the bytes that aren't written"
    texts, written = [], []
    for part in parts:
        if isinstance(part, bytes):
            constant = np.frombuffer(part, np.uint8)
            part = np.broadcast_to(constant, (lines, len(part))), np.ones((lines, len(part)), bool)
        texts.append(part[0])
        written.append(part[1])
    return np.hstack(texts)[np.hstack(written)].tobytes()


def chunks(n: int):
    return ((start, min(n, start + CHUNK)) for start in range(0, n, CHUNK))


def write_texts(path: Path, ids: np.ndarray, letter: bytes, words: Words, n_words: int, titles: bool):
    spread = max(1, n_words // 3)
    with path.open('wb') as f:
        for start, stop in chunks(len(ids)):
            n = stop - start
            title = (b'", "title": "', words.columns(n, 2, 6)) if titles else ()
            f.write(
                joined(
                    n,
                    b'{"_id": "' + letter,
                    number_columns(ids[start:stop]),
                    *title,
                    b'", "text": "',
                    words.columns(n, n_words - spread, n_words + spread),
                    b'"}\n',
                )
            )


def write_judgements(
    path: Path, query_ids: np.ndarray, doc_ids: np.ndarray, per_query: int, rng: np.random.Generator
):
    with path.open('wb') as f:
        f.write(b'query-id\tcorpus-id\tscore\n')
        for start, stop in chunks(len(query_ids)):
            n, per_query = stop - start, min(per_query, len(doc_ids))
            # the sum of the gaps stays below the number of passages, so none comes twice
            gaps = rng.integers(1, max(2, len(doc_ids) // per_query + 1), (n, per_query))
            first = rng.integers(0, len(doc_ids), (n, 1))
            docs = doc_ids[(first + gaps.cumsum(1) - gaps[:, :1]) % len(doc_ids)]
            score = (np.arange(per_query) == rng.integers(0, per_query, (n, 1))).astype(np.uint8) + ord('0')
            q, d = number_columns(np.repeat(query_ids[start:stop], per_query)), number_columns(docs.ravel())
            f.write(
                joined(
                    n * per_query,
                    b'q',
                    q,
                    b'\td',
                    d,
                    b'\t',
                    (score.reshape(-1, 1), np.ones((n * per_query, 1), bool)),
                    b'\n',
                )
            )


def make_collection(
    folder: Path,
    docs: int = 1_000_000,
    queries: int = 100_000,
    judged: int = 31,
    words: int = 37,
    seed: int = 0,
) -> dict:
    "Write the collection unless this very one is there; what it is"
    settings = dict(docs=docs, queries=queries, judged=judged, words=words, seed=seed)
    done = folder / 'made.json'
    if done.exists() and json.loads(done.read_text()) == settings:
        return settings
    (folder / 'qrels').mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    source = Words(rng)
    doc_ids, query_ids = rng.permutation(docs), rng.permutation(queries)
    write_texts(folder / 'corpus.jsonl', doc_ids, b'd', source, words, titles=True)
    write_texts(folder / 'queries.jsonl', query_ids, b'q', source, 6, titles=False)
    write_judgements(folder / 'qrels' / 'train.tsv', np.sort(query_ids), doc_ids, judged, rng)
    done.write_text(json.dumps(settings))
    return settings


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path)
    for name, default in (
        ('docs', 1_000_000),
        ('queries', 100_000),
        ('judged', 31),
        ('words', 37),
        ('seed', 0),
    ):
        parser.add_argument(f'--{name}', type=int, default=default)
    args = vars(parser.parse_args())
    begun = time.perf_counter()
    make_collection(**args)
    files = [path for path in sorted(args['folder'].rglob('*')) if path.is_file()]
    sizes = {path.name: f'{path.stat().st_size / 1e6:,.0f} MB' for path in files}
    print(f'{time.perf_counter() - begun:.1f} s', sizes)
