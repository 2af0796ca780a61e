"""Make the collection that ships with the package from a MedQuAD folder in BEIR layout.

    python tools/make_medquad_mini.py MEDQUAD_FOLDER [--out trove_nb/shipped/medquad-mini]

MEDQUAD_FOLDER holds corpus.jsonl, queries.jsonl (both may be gzipped) and qrels/{train,dev,test}.tsv; a
document's title is the disease that it is about. The same folder always gives the same bytes."""

import argparse
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from itertools import zip_longest
from math import log, sqrt
from pathlib import Path

splits = 'train', 'dev', 'test'
# queries; a split stops at the first disease that reaches its number
wanted = dict(train=1100, dev=150, test=240)
n_answers = range(4, 11)  # answers about one disease
n_negatives = 3  # at least so many of them do not answer the question at hand
n_chars = range(80, 4001)  # length of an answer, characters
n_candidates = 20  # passages per dev query: its positives and mined negatives
header = 'query-id\tcorpus-id\tscore'


def read_jsonl(folder, name):
    "Rows of `name` or of `name`.gz"
    path = folder / name
    open_file, path = (open, path) if path.exists() else (gzip.open, f'{path}.gz')
    with open_file(path, 'rt', encoding='utf-8') as f:
        return [json.loads(line) for line in f.read().split('\n') if line]


def read_qrels(folder, split):
    "The relevant passages of each query: {query id: [passage id]}"
    positives = defaultdict(list)
    for line in (folder / f'qrels/{split}.tsv').read_text(encoding='utf-8').splitlines()[1:]:
        qid, docid, score = line.split('\t')
        if float(score) > 0:
            positives[qid].append(docid)
    return dict(positives)


def words(text):
    return re.findall(r'[a-z0-9]+', text.lower())


def subject_of(doc):
    return ' '.join(words(doc['title']))


def source_of(doc):
    return doc['_id'].split('-')[0]


def draw(subject):
    return hashlib.sha256(f'medquad-mini:{subject}'.encode()).hexdigest()


def suits(docs, judged):
    "Whether a disease's page has moderate size, comes from one web site, and has a question for each answer"
    if len(docs) not in n_answers or not all(len(o['text']) in n_chars for o in docs):
        return False
    sources = set(map(source_of, docs))
    texts = [o['text'] for o in docs]
    if len(sources) != 1 or len(set(texts)) != len(docs):
        return False
    return all(o['_id'] in judged for o in docs)


def in_turn(subjects, docs_of):
    "Subjects in an order that a hash draws, one from each web site in turn"
    by_source = defaultdict(list)
    for o in sorted(subjects, key=draw):
        by_source[source_of(docs_of[o][0])].append(o)
    lanes = [by_source[source] for source in sorted(by_source)]
    return [o for turn in zip_longest(*lanes) for o in turn if o]


def choose(docs_of, positives):
    "The subjects of each split: {split: [subject]}"
    subject = {doc['_id']: s for s, docs in docs_of.items() for doc in docs}
    asked = {split: defaultdict(set) for split in splits}  # subject -> its queries
    for split in splits:
        for qid, docids in positives[split].items():
            for o in docids:
                asked[split][subject[o]].add(qid)
    return {split: choose_of_split(split, docs_of, positives[split], subject, asked) for split in splits}


def choose_of_split(split, docs_of, positives, subject, asked):
    "The subjects of one split, until it has its questions"
    judged = {o for docids in positives.values() for o in docids}
    elsewhere = {s for other in splits if other != split for s in asked[other]}

    def can_be_asked(s):
        "Whether all positives are about the subject, and enough of its answers are negatives"
        for qid in asked[split][s]:
            others = len(docs_of[s]) - len(positives[qid])
            if others < n_negatives or any(subject[o] != s for o in positives[qid]):
                return False
        return True

    free = [s for s in asked[split] if s not in elsewhere and suits(docs_of[s], judged)]
    chosen, n = [], 0
    for s in in_turn(filter(can_be_asked, free), docs_of):
        if n >= wanted[split]:
            break
        chosen.append(s)
        n += len(asked[split][s])
    if n < wanted[split]:
        raise SystemExit(f'{split}: only {n} of {wanted[split]} queries are about diseases that suit')
    return chosen


def tfidf(texts):
    "One unit-length {word: weight} per text, weight (1 + log count) * log(N / documents with the word)"
    counts = [Counter(words(o)) for o in texts]
    with_word = Counter(w for c in counts for w in c)
    idf = {w: log(len(texts) / n) for w, n in with_word.items()}
    vectors = []
    for c in counts:
        weights = {w: (1 + log(n)) * idf[w] for w, n in c.items()}
        norm = sqrt(sum(x * x for x in weights.values())) or 1
        vectors.append({w: x / norm for w, x in weights.items()})
    return vectors, idf


def mine(queries, positives, corpus):
    "For each query the other answers about its disease, then the passages nearest by tf-idf"
    vectors, idf = tfidf([f'{o["title"]} {o["text"]}' for o in corpus])
    subjects = {o['_id']: subject_of(o) for o in corpus}
    for query in queries:
        qid, known = query['_id'], positives[query['_id']]
        own = subjects[known[0]]
        in_query = sorted(set(words(query['text'])))
        places = []  # in the order of the ranking: own disease first, then by score, then by id
        for o, v in zip(corpus, vectors):
            if o['_id'] not in known:
                score = sum(idf.get(w, 0) * v.get(w, 0) for w in in_query)
                places.append((subjects[o['_id']] != own, -round(score, 9), o['_id']))
        for *_, docid in sorted(places)[: n_candidates - len(known)]:
            yield qid, docid, 0


def write_jsonl(path, rows):
    path.write_text(''.join(json.dumps(o, ensure_ascii=False) + '\n' for o in rows), encoding='utf-8')


def write_tsv(path, rows):
    path.write_text('\n'.join([header, *('\t'.join(map(str, o)) for o in rows)]) + '\n', encoding='utf-8')


README = Path(__file__).with_name('medquad_mini_readme.md')


def describe(corpus, queries, qrels, mined, subjects_of):
    "README.md, with the counts of what was written"
    rows = []
    for split, judgements in qrels.items():
        queries_of_split = {qid for qid, _, _ in judgements}
        positives = sum(score for _, _, score in judgements)
        rows.append(
            f'| `qrels/{split}.tsv` | {len(queries_of_split):,} queries about '
            f'{len(subjects_of[split])} diseases; {positives:,} rows of score 1, '
            f'{len(judgements) - positives:,} of score 0 |'
        )
    sources = sorted(Counter(map(source_of, corpus)).items())
    counted = ', '.join(f'{source} {n}' for source, n in sources)
    n_words = sum(len(o['text'].split()) for o in corpus)
    return README.read_text(encoding='utf-8').format(
        n_docs=len(corpus),
        n_subjects=sum(map(len, subjects_of.values())),
        n_queries=len(queries),
        qrels='\n'.join(rows),
        n_mined=len(mined),
        n_candidates=n_candidates,
        n_negatives=n_negatives,
        fewest=n_answers[0],
        most=n_answers[-1],
        shortest=n_chars[0],
        longest=n_chars[-1],
        mean_words=round(n_words / len(corpus)),
        sources=f'Passages per web site: {counted}.',
    )


def judgements_of(qids, positives, docs, docs_of):
    "Query id, passage id and score for each answer about each query's disease"
    found = []
    for qid in qids:
        answers = docs_of[subject_of(docs[positives[qid][0]])]
        found += [(qid, o['_id'], int(o['_id'] in positives[qid])) for o in answers]
    return found


def main(folder, out):
    positives = {s: read_qrels(folder, s) for s in splits}
    docs_of = defaultdict(list)
    for o in read_jsonl(folder, 'corpus.jsonl'):
        docs_of[subject_of(o)].append(o)
    chosen = choose(docs_of, positives)
    corpus, qids, qrels = [], {}, {}
    for split in splits:
        docs = {o['_id']: o for subject in chosen[split] for o in docs_of[subject]}
        corpus += docs.values()
        qids[split] = [qid for qid, docids in positives[split].items() if docids[0] in docs]
        qrels[split] = judgements_of(qids[split], positives[split], docs, docs_of)
    corpus.sort(key=lambda o: o['_id'])
    kept = set().union(*qids.values())
    queries = [o for o in read_jsonl(folder, 'queries.jsonl') if o['_id'] in kept]
    dev_queries = [o for o in queries if o['_id'] in set(qids['dev'])]
    mined = list(mine(dev_queries, positives['dev'], corpus))
    for o in 'qrels', 'mined':
        (out / o).mkdir(parents=True, exist_ok=True)
    write_jsonl(out / 'corpus.jsonl', corpus)
    write_jsonl(out / 'queries.jsonl', queries)
    for s in splits:
        write_tsv(out / f'qrels/{s}.tsv', qrels[s])
    write_tsv(out / 'mined/dev.tsv', mined)
    (out / 'README.md').write_text(describe(corpus, queries, qrels, mined, chosen), encoding='utf-8')
    print((out / 'README.md').read_text(encoding='utf-8'))
    print(f'{sum(o.stat().st_size for o in out.rglob("*") if o.is_file()):,} bytes in {out}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='MedQuAD in BEIR layout')
    parser.add_argument(
        '--out', type=Path, default=Path('trove_nb/shipped/medquad-mini'), help='where to write'
    )
    args = parser.parse_args()
    main(args.folder, args.out)
