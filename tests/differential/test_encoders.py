"""Encoders on models made from the specs beside the project, with the vocabulary of a bundled model: embeddings, scores and translations of both
libraries agree within what f32 leaves open (8-bit noise for quantised weights). Skipped, loudly, where the specs are not there."""
import json, os, sys, tempfile, unittest
import numpy as np
import sides

SHARED = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(sides.ROOT), "shared")
SPECS = os.path.join(SHARED, "conformance")
F32, Q8_0 = 1e-5, 1e-3
NONE, MEAN, CLS, LAST, RANK = range(5)


def vocabulary():
    """The tokenizer's keys of a bundled model, as a spec has them, and how many tokens there are."""
    import gguf
    fields = [f for f in gguf.GGUFReader(sides.MODELS["llama"]).fields.values() if f.name.startswith("tokenizer.ggml.")]
    name = lambda f: ("ARRAY:" + f.types[1].name) if f.types[0].name == "ARRAY" else f.types[0].name
    kv = [[f.name, name(f), f.contents()] for f in fields]
    return kv, len(next(v for k, _, v in kv if k == "tokenizer.ggml.tokens"))


def spec(name, more=(), without=(), arch=None):
    """A spec with that vocabulary, further keys (suffix, type, value), and without some tensors; `arch`: of a kin of it."""
    with open(os.path.join(SPECS, "specs", name + ".json")) as f:
        s = json.load(f)
    kv, n_vocab = vocabulary()
    old, s["arch"] = s["arch"], arch or s["arch"]
    keep = [k for k in s["kv"] if not k[0].startswith("tokenizer.ggml.") or k[0].endswith("token_type_count")]
    new = {k[0].replace(old + ".", s["arch"] + ".", 1): k[1:] for k in keep + kv}
    new["general.architecture"] = ["STRING", s["arch"]]
    new[s["arch"] + ".vocab_size"] = ["UINT32", n_vocab]
    new.update({f"{s['arch']}.{k}": [t, v] for k, t, v in more})
    s["kv"] = [[k, *v] for k, v in new.items()]
    wide = lambda t: [t[0], t[1], [t[2][0], n_vocab]] if t[0] in ("token_embd.weight", "output.weight") else t
    s["tensors"] = [wide(t) for t in s["tensors"] if not any(w in t[0] for w in without)]
    return s


def nmse(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return ((a - b) ** 2).sum() / (b ** 2).sum()


class Encoders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: encoders. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def model(self, s, want="f32"):
        import make_models
        path = os.path.join(self.folder.name, f"{s['name']}-{s['arch']}-{len(s['kv'])}-{len(s['tensors'])}-{want}.gguf")
        if not os.path.exists(path):
            make_models.build(s, path, want)
        return path

    def same(self, what, a, b, limit):
        self.assertEqual(np.shape(a), np.shape(b), what)
        print(f"  {what}: nmse {nmse(a, b):.1e}")
        self.assertLess(nmse(a, b), limit, what)

    def test_what_llama_embed_gives(self):
        words = sides.heldout()[0].split()
        texts = [" ".join(words[:n]) for n in (1, 12, 40)]
        for name in ("x-bert", "x-nomic-bert", "x-jina-bert-v2", "x-modern-bert", "x-neo-bert", "x-gemma-embedding", "x-t5encoder"):
            for want, limit in (("f32", F32), ("q8_0", Q8_0)):
                path = self.model(spec(name), want)
                for pooling in (NONE, MEAN, CLS, LAST) if want == "f32" else (MEAN,):
                    # The original's t5encoder has a memory that its graph does not fill: a decode of it ends the process.
                    if name == "x-t5encoder":
                        continue
                    job = {"model": path, "n_ctx": 256, "pooling": pooling, "texts": texts}
                    ours, theirs = sides.both("encoders:embeddings", job)
                    self.same(f"{name} {want} pooling {pooling}", np.concatenate([np.ravel(x) for x in ours]),
                              np.concatenate([np.ravel(x) for x in theirs]), limit)

    def test_dense_matrices_behind_embeddings(self):
        s = spec("x-gemma-embedding", [("dense_2_feat_in", "UINT32", 256), ("dense_2_feat_out", "UINT32", 512),
                                       ("dense_3_feat_in", "UINT32", 512), ("dense_3_feat_out", "UINT32", 256)])
        s["tensors"] += [["dense_2.weight", "F32", [256, 512]], ["dense_3.weight", "F32", [512, 256]]]
        for pooling in (NONE, MEAN):
            job = {"model": self.model(s), "n_ctx": 256, "pooling": pooling, "texts": [sides.heldout()[0][:60]]}
            ours, theirs = sides.both("encoders:embeddings", job)
            self.same(f"gemma-embedding with dense matrices, pooling {pooling}", ours, theirs, F32)

    def test_batches_of_sequences(self):
        r = np.random.default_rng(5)
        lengths = [3, 70, 64, 1, 40]
        tokens = [[int(t) for t in r.integers(3, 400, n)] for n in lengths]
        rows = [(t, p, s) for s, text in enumerate(tokens) for p, t in enumerate(text)]
        # One after the other; taking turns; from a later position on.
        turns = sorted(rows, key=lambda x: (x[1], x[2]))
        later = [(t, p + 9, s) for t, p, s in rows]
        batches = [tuple(map(list, zip(*b))) for b in (rows, turns, later)]
        moe = spec("x-nomic-bert", [("expert_count", "UINT32", 4), ("expert_used_count", "UINT32", 2)], arch="nomic-bert-moe",
                   without=("ffn_gate", "blk.1.ffn"))
        n, n_ff = 256, 384
        moe["tensors"] += [["blk.1.ffn_gate_inp.weight", "F32", [n, 4]], ["blk.1.ffn_up_exps.weight", "F32", [n, n_ff, 4]],
                           ["blk.1.ffn_down_exps.weight", "F32", [n_ff, n, 4]]]
        fused = spec("x-jina-bert-v2", without=("ffn_gate", "ffn_up"))
        for il in (0, 1):
            fused["tensors"] += [[f"blk.{il}.ffn_up.weight", "F32", [n, 2 * n_ff]], [f"blk.{il}.ffn_up.bias", "F32", [2 * n_ff]]]
        for s in (spec("x-bert"), moe, fused, spec("x-jina-bert-v3"), spec("x-eurobert"), spec("x-modern-bert"),
                  spec("x-modern-bert", [("hidden_activation", "STRING", "silu")]), spec("x-t5encoder")):
            for pooling in (MEAN, CLS):
                job = {"model": self.model(s), "n_ctx": 256, "pooling": pooling, "batches": batches}
                ours, theirs = sides.both("encoders:encode", job)
                for what, (rc, a), (rc2, b) in zip(("in a row", "in turns", "later"), ours["out"], theirs["out"]):
                    self.assertEqual((rc, rc2), (0, 0))
                    self.same(f"{s['name']} {s['arch']} pooling {pooling} {what}", a, b, F32)

    def test_rerankers(self):
        r = np.random.default_rng(7)
        texts = [(s, p) for s, n in enumerate((9, 33)) for p in range(n)]
        batch = ([int(r.integers(3, 400)) for _ in texts], [p for _, p in texts], [s for s, _ in texts])
        three = ["no", "maybe", "yes"]
        labels = [("classifier.output_labels", "ARRAY:STRING", three)]
        wide = lambda s: {**s, "tensors": [[t[0], t[1], [*t[2][:-1], 3] if t[0].endswith("bias") else [t[2][0], 3]]
                                           if t[0].startswith("cls.output") else t for t in s["tensors"]]}
        for s, names in ((spec("x-bert"), []), (wide(spec("x-bert", labels)), three), (spec("x-jina-bert-v2"), []), (spec("x-neo-bert"), []),
                         (spec("x-modern-bert"), []), (spec("x-modern-bert", [("classifier.pooling_type", "UINT32", CLS)]), [])):
            job = {"model": self.model(s), "n_ctx": 256, "pooling": RANK, "batches": [batch]}
            ours, theirs = sides.both("encoders:encode", job)
            self.assertEqual((ours["labels"], ours["pooling"]), (theirs["labels"], theirs["pooling"]))
            self.assertEqual([x.decode() for x in ours["labels"] if x], names)
            for (rc, a), (rc2, b) in zip(ours["out"], theirs["out"]):
                self.assertEqual((rc, rc2), (0, 0))
                self.same(f"{s['name']} scores, {len(names)} labels", a, b, F32)

    def test_four_times_the_context(self):
        r = np.random.default_rng(9)
        for name, more in (("x-nomic-bert", [("rope.scaling.type", "STRING", "linear"), ("rope.scaling.factor", "FLOAT32", 4.0)]),
                           ("x-modern-bert", []), ("x-jina-bert-v2", []), ("x-t5encoder", [])):
            n = 1024
            job = {"model": self.model(spec(name, more)), "n_ctx": n, "pooling": MEAN,
                   "batches": [([int(t) for t in r.integers(3, 400, n)], list(range(n)), [0] * n)]}
            ours, theirs = sides.both("encoders:encode", job)
            self.same(f"{name} at {n} tokens", ours["out"][0][1], theirs["out"][0][1], F32)

    def test_encoder_and_decoder(self):
        r = np.random.default_rng(11)
        texts = [[int(t) for t in r.integers(3, 400, n)] for n in (1, 20, 300)]
        relu, gelu = spec("x-t5", without=("ffn_gate",)), spec("x-t5")
        short = spec("x-t5", [("decoder_block_count", "UINT32", 1)], without=("ffn_gate", "dec.blk.1", "scale"))
        # Scores are not scaled down, so they make much of little: of the original's f16 tables for GELU, f16 queries beside f16 rows, flash attention.
        for s, want, kv, flash, limit in ((relu, "f32", 0, 0, F32), (short, "f32", 0, 0, F32), (relu, "f32", 1, -1, Q8_0),
                                          (gelu, "f32", 0, 0, Q8_0)):
            job = {"model": self.model(s, want), "n_ctx": 512, "kv": kv, "flash": flash, "texts": texts,
                   "answer": [int(t) for t in r.integers(3, 400, 40)]}
            ours, theirs = sides.both("encoders:translate", job)
            self.assertEqual((ours["start"], ours["has"]), (theirs["start"], theirs["has"]))
            self.same(f"{s['name']} {want} kv {kv} flash {flash}, {len(s['kv'])} keys", ours["rows"], theirs["rows"], limit)


if __name__ == "__main__":
    unittest.main()
