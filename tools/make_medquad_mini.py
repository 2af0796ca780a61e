"""Make the collection that ships with the package from a MedQuAD folder in BEIR layout.

    python tools/make_medquad_mini.py MEDQUAD_FOLDER [--out trove_nb/shipped/medquad-mini]

MEDQUAD_FOLDER holds corpus.jsonl, queries.jsonl (both may be gzipped) and qrels/{train,dev,test}.tsv; a document's
title is the disease that it is about. The same folder always gives the same bytes."""

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
wanted = dict(
    train=1100, dev=150, test=240
)  # queries; a split stops at the first disease that reaches its number
n_answers = range(4, 11)  # answers about one disease
n_negatives = 3  # at least so many of them do not answer the question at hand
n_chars = range(80, 4001)  # length of an answer, characters
n_candidates = 20  # passages per dev query: its positives and mined negatives
header = 'query-id\tcorpus-id\tscore'


def read_jsonl(folder, name):
    "Rows of `name` or of `name`.gz"
    path = folder / name
    text = (
        path.read_text(encoding='utf-8')
        if path.exists()
        else gzip.open(folder / f'{name}.gz', 'rt', encoding='utf-8').read()
    )
    return [json.loads(o) for o in text.split('\n') if o]


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
    "Is this disease's page of moderate size, from one web site only, and with a question for each of its answers?"
    return (
        len(docs) in n_answers
        and all(len(o['text']) in n_chars for o in docs)
        and len({source_of(o) for o in docs}) == 1
        and all(o['_id'] in judged for o in docs)
        and len({o['text'] for o in docs}) == len(docs)
    )


def in_turn(subjects, docs_of):
    "Subjects in an order that a hash draws, one from each web site in turn"
    by_source = defaultdict(list)
    for o in sorted(subjects, key=draw):
        by_source[source_of(docs_of[o][0])].append(o)
    return [o for turn in zip_longest(*(by_source[s] for s in sorted(by_source))) for o in turn if o]


def choose(docs_of, positives):
    "The subjects of each split: {split: [subject]}"
    subject = {doc['_id']: s for s, docs in docs_of.items() for doc in docs}
    asked = {split: defaultdict(set) for split in splits}  # subject -> its queries
    for split in splits:
        for qid, docids in positives[split].items():
            for o in docids:
                asked[split][subject[o]].add(qid)
    chosen = {}
    for split in splits:
        judged = {o for docids in positives[split].values() for o in docids}
        elsewhere = {s for other in splits if other != split for s in asked[other]}
        fit = [
            s
            for s in asked[split]
            if s not in elsewhere
            and suits(docs_of[s], judged)
            and all(subject[o] == s for qid in asked[split][s] for o in positives[split][qid])
            and all(len(docs_of[s]) - len(positives[split][qid]) >= n_negatives for qid in asked[split][s])
        ]
        chosen[split], n = [], 0
        for s in in_turn(fit, docs_of):
            if n >= wanted[split]:
                break
            chosen[split].append(s)
            n += len(asked[split][s])
        if n < wanted[split]:
            raise SystemExit(f'{split}: only {n} of {wanted[split]} queries are about diseases that suit')
    return chosen


def tfidf(texts):
    "One unit-length {word: weight} per text, weight (1 + log count) * log(N / documents with the word)"
    counts = [Counter(words(o)) for o in texts]
    with_word = Counter(w for c in counts for w in c)
    vectors = [{w: (1 + log(n)) * log(len(texts) / with_word[w]) for w, n in c.items()} for c in counts]
    norms = [sqrt(sum(x * x for x in v.values())) or 1 for v in vectors]
    return [{w: x / norm for w, x in v.items()} for v, norm in zip(vectors, norms)], {
        w: log(len(texts) / n) for w, n in with_word.items()
    }


def mine(queries, positives, corpus):
    "For each query the other answers about its disease, then the passages nearest by tf-idf, up to `n_candidates` with its positives"
    vectors, idf = tfidf([f'{o["title"]} {o["text"]}' for o in corpus])
    subjects = {o['_id']: subject_of(o) for o in corpus}
    for query in queries:
        qid, known = query['_id'], positives[query['_id']]
        own = subjects[known[0]]
        score = {
            o['_id']: sum(idf.get(w, 0) * v.get(w, 0) for w in sorted(set(words(query['text']))))
            for o, v in zip(corpus, vectors)
        }
        ranked = sorted(
            (o for o in score if o not in known), key=lambda o: (subjects[o] != own, -round(score[o], 9), o)
        )
        yield from ((qid, o, 0) for o in ranked[: n_candidates - len(known)])


def write_jsonl(path, rows):
    path.write_text(''.join(json.dumps(o, ensure_ascii=False) + '\n' for o in rows), encoding='utf-8')


def write_tsv(path, rows):
    path.write_text('\n'.join([header, *('\t'.join(map(str, o)) for o in rows)]) + '\n', encoding='utf-8')


readme = """# medquad-mini

Questions and answers about diseases from web sites of the US National Institutes of Health: {n_docs:,} answers about
{n_subjects} diseases, chosen from MedQuAD. It is small enough to fine-tune a small encoder on two CPU cores in minutes.

| file | what it holds |
| --- | --- |
| `corpus.jsonl` | {n_docs:,} passages: `_id`, `title` (the disease), `text` (the answer: {mean_words} words on average) |
| `queries.jsonl` | {n_queries:,} questions: `_id`, `text` |
{qrels}
| `mined/dev.tsv` | {n_mined:,} more passages for the dev queries, all scored 0: with its positives, each query has {n_candidates} candidates |

Every `.tsv` file has the header `query-id`, `corpus-id`, `score`. Score 1: the answer to the question. Score 0: another answer
about the same disease, a hard negative, since the question names the disease and only what is asked tells the answers apart.

## Source and licence

Made from MedQuAD, https://github.com/abachaa/MedQuAD, commit 577bd37b96c02d1833b2c9eed2de9f96964e96cb, folders 1 to 9 (the folders that hold answers).
Licence: Creative Commons Attribution 4.0 International (CC BY 4.0), https://creativecommons.org/licenses/by/4.0/.
Attribution: A. Ben Abacha and D. Demner-Fushman, "A question-entailment approach to question answering", BMC Bioinformatics 20:511, 2019.

## Changes made

- MedQuAD was first put in this layout: white space collapsed; the same answer about the same disease is one passage; the same question (case
  ignored) asked twice is one query with two relevant passages; all questions about a disease are in one split.
- Whole diseases were then chosen, never part of one: those with {fewest} to {most} answers, all from one web site, each answer {shortest:,} to {longest:,} characters
  long, different from the others and the answer to a question here, and at least {n_negatives} answers of score 0 for each question. Among these a hash of
  the name drew, one disease from each web site in turn, until the split had its questions. Texts are as they were: none is cut.
- The rows of score 0 were added. MedQuAD does not judge them; they rest on an answer being filed under one question of its page. A few answers
  under another heading do touch on what is asked.
- `mined/dev.tsv`: first the other answers about the disease, then the passages of the whole collection nearest to the question by tf-idf cosine.

No disease is in two splits, but the forms of the questions ("What are the treatments for ... ?") are in all three: a gain
on the test questions shows that the encoder learned what is asked, on diseases that it was not trained on. It does not show a gain on questions worded in other ways.

{sources}
"""


def describe(corpus, queries, qrels, mined, subjects_of):
    "README.md, with the counts of what was written"
    rows = [
        f'| `qrels/{s}.tsv` | {len({o[0] for o in q}):,} queries about {len(subjects_of[s])} diseases; {sum(o[2] for o in q):,} rows of score 1, {sum(not o[2] for o in q):,} of score 0 |'
        for s, q in qrels.items()
    ]
    sources = Counter(map(source_of, corpus))
    return readme.format(
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
        mean_words=round(sum(len(o['text'].split()) for o in corpus) / len(corpus)),
        sources='Passages per web site: ' + ', '.join(f'{s} {n}' for s, n in sorted(sources.items())) + '.',
    )


def main(folder, out):
    positives = {s: read_qrels(folder, s) for s in splits}
    docs_of = defaultdict(list)
    for o in read_jsonl(folder, 'corpus.jsonl'):
        docs_of[subject_of(o)].append(o)
    chosen = choose(docs_of, positives)
    order = {s: {o['_id']: o for subject in chosen[s] for o in docs_of[subject]} for s in splits}
    corpus = sorted((o for s in splits for o in order[s].values()), key=lambda o: o['_id'])
    qids = {s: [q for q, docids in positives[s].items() if docids[0] in order[s]] for s in splits}
    kept = {q for s in splits for q in qids[s]}
    queries = [o for o in read_jsonl(folder, 'queries.jsonl') if o['_id'] in kept]
    subject = {o['_id']: subject_of(o) for o in corpus}
    qrels = {
        s: [
            (q, o['_id'], int(o['_id'] in positives[s][q]))
            for q in qids[s]
            for o in docs_of[subject[positives[s][q][0]]]
        ]
        for s in splits
    }
    mined = list(mine([o for o in queries if o['_id'] in set(qids['dev'])], positives['dev'], corpus))
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
