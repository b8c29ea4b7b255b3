"""Sparse attention by an index, past its top_k: logits, greedy tokens and states of models whose files say that queries see few positions.
A key that is rounded the other way may pick another position, so a few rows may be further apart than all others. Skipped, loudly, where the
specs are not there."""
import os, sys, tempfile, unittest
import numpy as np
import sides
from test_decoders import SPECS, Spec

TOP_K = 24
# As for other decoders; and for the few rows where one position was picked instead of another.
LIMIT, LIMIT_OF_ALL = 1e-4, 2e-2
ROWS = 0.9
KV = {"q8_0": 8, "q4_0": 2}
# What two roundings of K and V leave between the libraries without an index too; with one the original is 4 and 100 times as far from its own f16.
NOISE, GREEDY = {"q8_0": 5e-4, "q4_0": 5e-3}, 0.8


def index(base, **more):
    """With few positions, heads enough to differ, and four heads of attention where it is latent."""
    s = Spec(base).keys(of={"attention.indexer.top_k": TOP_K, **more})
    if base.startswith("minimax"):
        return s
    s.keys(of={"attention.head_count": 4, "attention.indexer.head_count": 8})
    s.shape(r".*attn_q_b\.weight", lambda n: [n[0], 4 * n[1]] if n[1] < 1000 else n).shape(r".*indexer\.attn_q_b\.weight", [512, 1024])
    s.shape(r".*indexer\.proj\.weight", [128, 8]).shape(r".*attn_sinks\.weight", [4])
    for name in ("k", "v"):
        s.shape(rf".*attn_{name}_b\.weight", lambda n: [n[0], n[1], 4])
    s.shape(r".*attn_gate\.weight", lambda n: [n[0], 4 * (n[1] if len(n) > 1 else 1)])
    return s.shape(r".*attn_output\.weight", lambda n: [4 * n[0], n[1]])


CASES = {
    "deepseek32": lambda: index("deepseek32-moe"),
    "glm-dsa": lambda: index("glm-dsa-moe"),
    "glm-dsa, shared": lambda: index("glm-dsa-moe", **{"attention.indexer.types": [1, 0]}).drop(r"blk\.1\.indexer\..*"),
    "dots3note": lambda: index("dots3note-moe"),
    "hy_v4": lambda: index("hy_v4-moe"),
    "minimax-m3": lambda: index("minimax-m3-moe", **{"attention.indexer.top_k": 6}),
    "minimax-m3, wide": lambda: index("minimax-m3-moe", **{"attention.indexer.top_k": 5, "attention.indexer.block_size": 16,
                                                         "attention.indexer.local_blocks": 2}),
}


class Sparse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: sparse attention. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)

    def each(self):
        import make_models
        for name, case in CASES.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "model.gguf")
                make_models.build(case().s, path)
                yield name, path

    def test_past_top_k(self):
        rng = np.random.default_rng(11)
        for name, path in self.each():
            tokens = [int(t) for t in rng.integers(0, 128, 300)]
            for chunk in (37, 1):
                job = {"model": path, "n_ctx": 512, "chunk": chunk, "tokens": tokens[:300 if chunk > 1 else 120]}
                ours, theirs = sides.both("sparse:logits", job)
                far = ((ours - theirs) ** 2).sum(1) / (theirs ** 2).sum(1)
                same = (ours.argmax(1) == theirs.argmax(1)).mean()
                print(f"  {name}, {chunk} at a time: nmse {np.median(far):.1e}, {np.mean(far):.1e} of all, greedy {same:.3f}, within {(far < LIMIT).mean():.3f}")
                self.assertGreaterEqual((far < LIMIT).mean(), ROWS)
                self.assertLess(far.mean(), LIMIT_OF_ALL)
                self.assertGreaterEqual(same, ROWS)

    def test_quantised_rows(self):
        """Keys of the index are as coarse as all others: picks are what is furthest apart."""
        for name, path in self.each():
            tokens = [int(t) for t in np.random.default_rng(16).integers(0, 128, 250)]
            for kv, ty in KV.items():
                ours, theirs = sides.both("sparse:logits", {"model": path, "n_ctx": 512, "chunk": 50, "tokens": tokens, "kv": ty})
                far = ((ours - theirs) ** 2).sum(1) / (theirs ** 2).sum(1)
                same = (ours.argmax(1) == theirs.argmax(1)).mean()
                print(f"  {name}, {kv}: nmse {np.median(far):.1e}, {np.mean(far):.1e} of all, greedy {same:.3f}")
                self.assertLess(np.median(far), NOISE[kv])
                self.assertLess(far.mean(), LIMIT_OF_ALL)
                self.assertGreaterEqual(same, GREEDY)

    def test_however_tokens_come(self):
        """The same bits."""
        for name, path in self.each():
            tokens = [int(t) for t in np.random.default_rng(12).integers(0, 128, 200)]
            ways = [(200, 512, 1), (1, 512, 1), (33, 7, 2), (200, 64, 3)]
            all_at_once, *others = sides.run("ours", "sparse:bits", {"model": path, "tokens": tokens, "ways": ways})
            for way, got in zip(ways[1:], others):
                self.assertTrue((got == all_at_once).all(), f"{name}: {way}")

    def test_after_a_rewind(self):
        for name, path in self.each():
            tokens = [int(t) for t in np.random.default_rng(13).integers(0, 128, 150)]
            for swa_full in (True, False):
                job = {"model": path, "tokens": tokens, "n": 90, "swa_full": swa_full}
                first, second = sides.run("ours", "sparse:again", job, CAMELID_SWA_SNAPSHOTS="16")
                self.assertTrue((first == second).all(), f"{name}, swa_full {swa_full}")

    def test_moved_positions(self):
        """Scores go by distance, so moving everything changes nothing but what rounding the keys once more does (blocks stand at positions: they
        are moved by whole ones)."""
        for name, path in self.each():
            tokens = [int(t) for t in np.random.default_rng(14).integers(0, 128, 150)]
            first, second = sides.run("ours", "sparse:moved", {"model": path, "tokens": tokens, "n": 100, "by": 64})
            far = ((first - second) ** 2).sum(1) / (second ** 2).sum(1)
            print(f"  {name}, moved: nmse {np.median(far):.1e}, within {(far < LIMIT).mean():.3f}")
            self.assertLess(np.median(far), LIMIT)
            self.assertGreaterEqual((far < LIMIT).mean(), ROWS)

    def test_states_go_both_ways(self):
        for kv in (None, "q8_0"):
            for name, path in self.each():
                with self.subTest(f"{name}, {kv or 'f16'}"):
                    self.states(name, path, kv)

    def states(self, name, path, kv):
        job = {"model": path, "tokens": [int(t) for t in np.random.default_rng(15).integers(0, 128, 160)], "n": 100}
        job.update({"kv": KV[kv]} if kv else {})
        limit = 2 * NOISE[kv] if kv else LIMIT
        sides_of = {s: sides.run(s, "sparse:saved", job) for s in ("ours", "original")}
        for s, reader in (("ours", "ours"), ("ours", "original"), ("original", "ours")):
            states, want = sides_of[s]
            for got, kind in zip(sides.run(reader, "sparse:resumed", {**job, "states": states}), ("a sequence", "all")):
                far = ((got - want) ** 2).sum(1) / (want ** 2).sum(1)
                print(f"  {name}, {kind} of {s} read by {reader}: nmse {np.median(far):.1e}, within {(far < limit).mean():.3f}")
                if s == reader:
                    self.assertTrue((got == want).all(), f"{name}, {kind}")
                self.assertLess(np.median(far), limit)
                self.assertGreaterEqual((far < limit).mean(), 0.75 if kv else ROWS)
        self.assertEqual(*[[len(b) for b in sides_of[s][0]] for s in ("ours", "original")], name)
