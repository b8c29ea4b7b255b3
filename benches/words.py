#!/usr/bin/env python3
"""Tokenizers and a sampler chain against the original, and how the time of a tokenizer grows with the text.

    build/tools/venv/bin/python benches/words.py [--pairs 3] [--only english|growth|chain ...] [--sizes 64 1024 16384]     (make bench-words)

Each pair is one process with the original and one with ours, in turns ABBA; a figure is the least processor time of a few repetitions, of which the
median over the pairs counts. `english`: a megabyte of sentences cut out of the held-out stories, MB/s. `growth`: ours alone, ns per byte of texts that
have no word to cut at, nothing to find, or only special tokens, at each size in KiB. `chain`: top_k 40, top_p, min_p, temp, dist on the
caller's own array of 256,000 candidates, without filling it. Vocabularies: the recorded ones of ../shared, and the made ones of test_vocabs.py.
Prints; RESULTS.md has a copy by hand.
"""
import argparse, ctypes, os, pathlib, random, statistics, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "differential"))
ENGLISH = ["llama-spm", "llama-bpe", "gpt-2", "qwen2", "gemma-4", "bert-bge", "nomic-bert-moe", "rwkv", "plamo2"]
GROWTH = ["llama-spm", "gpt-2", "llama-bpe", "gemma-4", "bert-bge", "nomic-bert-moe", "rwkv", "plamo2"]
UNITS = {"a": b"a", "space": b" ", "newline": b"\n", "!": b"!", "0xFF": b"\xff", "0xE2": b"\xe2", "<": b"<", "CJK": "中".encode(),
         "ab ": b"ab ", "a long word": b"internationalization", "random letters": None, "a special token": b"<s>"}
N_VOCAB = 256000


def english(n):
    words, r, out, size = open(ROOT / "tests" / "differential" / "heldout.txt").read().split(" "), random.Random(1), [], 0
    while size < n:
        k = r.randrange(len(words) - 40)
        sentence = " ".join(words[k:k + r.randint(5, 40)])
        out.append(sentence.capitalize() + str(r.randrange(10000)) if r.random() < .3 else sentence)
        size += len(out[-1]) + 1
    return " ".join(out).encode()[:n]


def adversarial(unit, n):
    if UNITS[unit] is None:
        return bytes(random.Random(2).choices(b"abcdefghijklmnopqrstuvwxyz", k=n))
    return (UNITS[unit] * (n // len(UNITS[unit]) + 1))[:n]


# ---- one process

def least(f, reps, budget=1.0):
    times = []
    while len(times) < reps and sum(times) < budget:
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return min(times)


def tokenizing(vocab, text, reps=5):
    import llama_cpp.llama_cpp as L
    out = (L.llama_token * (3 * len(text) + 8))()
    return least(lambda: L.llama_tokenize(vocab.p, text, len(text), out, len(out), True, True), reps)


def chain():
    import llama_cpp.llama_cpp as L, numpy as np, grammars
    links = (L.llama_sampler_init_top_k(40), L.llama_sampler_init_top_p(.95, 1), L.llama_sampler_init_min_p(.05, 1), L.llama_sampler_init_temp(.8),
             L.llama_sampler_init_dist(1))
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    for link in links:
        L.llama_sampler_chain_add(chain, link)
    logits, data = np.random.default_rng(0).normal(0, 3, N_VOCAB).astype(np.float32), np.zeros(N_VOCAB, grammars.TOKEN)
    times = []
    for _ in range(200):
        data["id"], data["logit"] = np.arange(N_VOCAB), logits
        array = L.llama_token_data_array(data.ctypes.data_as(L.llama_token_data_p), N_VOCAB, -1, False)
        start = time.perf_counter()
        L.llama_sampler_apply(chain, ctypes.byref(array))
        times.append(time.perf_counter() - start)
    return {"least": min(times), "median": statistics.median(times)}


def work(job):
    import grammars
    out = {}
    for name, path in job["english"].items():
        out[f"english {name}"] = tokenizing(grammars.Vocab(path), english(1 << 20))
    for name, path in job["growth"].items():
        vocab = grammars.Vocab(path)
        for unit in UNITS:
            for size in job["sizes"]:
                out[f"growth {name} {unit} {size}"] = tokenizing(vocab, adversarial(unit, size << 10), 3)
    if job["chain"]:
        out.update({f"chain {k}": v for k, v in chain().items()})
    return out


# ---- all of them

def vocabularies(folder):
    import test_vocabs
    made = test_vocabs.others(folder)
    shared = pathlib.Path(os.environ.get("CAMELID_SHARED") or ROOT.parent / "shared") / "conformance" / "vocab"
    return lambda names: {n: made.get(n) or str(shared / f"ggml-vocab-{n}.gguf") for n in names}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--only", nargs="+", choices=["english", "growth", "chain"], default=["english", "growth", "chain"])
    p.add_argument("--sizes", type=int, nargs="+", default=[64, 1024, 16384], help="KiB")
    p.add_argument("--vocabs", nargs="+", help="only these vocabularies")
    a = p.parse_args()
    import sides
    with tempfile.TemporaryDirectory() as folder:
        paths = vocabularies(folder)
        some = lambda kind, names: paths([n for n in names if not a.vocabs or n in a.vocabs]) if kind in a.only else {}
        run = lambda side, **job: sides.run(side, "words:work", {"english": {}, "growth": {}, "chain": False, **job}, timeout=3600,
                                            PYTHONPATH=str(ROOT / "benches"))
        pairs = []
        for i in range(a.pairs if {"english", "chain"} & set(a.only) else 0):
            order = ("original", "ours") if i % 2 == 0 else ("ours", "original")
            got = {side: run(side, english=some("english", ENGLISH), chain="chain" in a.only) for side in order}
            pairs.append((got["original"], got["ours"]))
        for name in pairs[0][0] if pairs else ():
            theirs, ours = (statistics.median(q[i][name] for q in pairs) for i in (0, 1))
            if name.startswith("chain"):
                print(f"| {name} | {theirs * 1e6:.0f} us | {ours * 1e6:.0f} us | {ours / theirs:.2f} |")
            else:
                print(f"| {name} | {(1 << 20) / theirs / 1e6:.1f} MB/s | {(1 << 20) / ours / 1e6:.1f} MB/s | {theirs / ours:.2f} |")
        growth = some("growth", GROWTH)
        for name, path in growth.items():
            got = run("ours", growth={name: path}, sizes=a.sizes)
            for unit in UNITS:
                cells = [got[f"growth {name} {unit} {size}"] * 1e9 / (size << 10) for size in a.sizes]
                print(f"| {name} | {unit} | " + " | ".join(f"{c:.1f}" for c in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
