"""States of every decoder whose spec lies beside the project, and of some that differ from theirs: the same size and the same cells on both sides, and
each goes on from the other's. Where tokens have several positions also after embeddings in a plane, and from states of the version before.
Skipped, loudly, where the specs are not there."""
import os, sys, tempfile, unittest
import numpy as np
import sides, test_decoders as decoders
from test_decoders import SPECS
from test_families import LEFT

N, MORE, AT_ONCE = 40, 6, 8
# f16 rows that are rounded the other way; routers near a tie make the most of it.
LIMIT = 1e-4
PLANE = ["qwen2vl-dense", "qwen3vl-dense", "paddleocr-moe"]


def far(a, b):
    a, b = np.float64(a), np.float64(b)
    return float(((a - b) ** 2).sum() / (b ** 2).sum())


class Layouts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: layouts of states. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)

    def exchange(self, specs, **job):
        """Checks both directions of models made from (name, spec); what both sides wrote."""
        import make_models
        tokens = [int(t) for t in np.random.default_rng(17).integers(0, 128, N + MORE)]
        out, worst = [], 0.0
        for first in range(0, len(specs), AT_ONCE):
            some = specs[first:first + AT_ONCE]
            with tempfile.TemporaryDirectory() as d:
                paths = [os.path.join(d, f"{i}.gguf") for i in range(len(some))]
                for (_, spec), path in zip(some, paths):
                    make_models.build(spec, path)
                jobs = [{"model": p, "tokens": tokens, "n": N, **job} for p in paths]
                # The original hides tokens of some models in a batch's first row only.
                ours, theirs = sides.both("layouts:saved", jobs, CAMELID_COMPAT="1")
                read = lambda side, made: sides.run(side, "layouts:resumed", [{**j, "states": m["states"]} for j, m in zip(jobs, made)], CAMELID_COMPAT="1")
                by_ours, by_theirs = sides.each([lambda: read("ours", theirs), lambda: read("original", ours)])
            for (name, _), a, b, x, y in zip(some, ours, theirs, by_ours, by_theirs):
                with self.subTest(name):
                    self.assertEqual([len(s) for s in a["states"]], [len(s) for s in b["states"]])
                    for kind, (p, q) in enumerate(zip(a["states"], b["states"])):
                        self.assertEqual(*[self.cells(s, kind, a["ext"]) for s in (p, q)])
                    for who, made, got in (("ours of theirs", b, x), ("theirs of ours", a, y)):
                        for kind, logits in zip(("a sequence", "all"), got):
                            self.assertFalse(isinstance(logits, str), f"{who}, {kind}: {logits}")
                            worst = max(worst, far(logits, made["next"]))
                            self.assertLess(far(logits, made["next"]), LIMIT, f"{who}, {kind}")
                out.append((a, b))
        print(f"  {len(specs)} models: worst nmse {worst:.1e}")
        return out

    def cells(self, blob, kind, ext):
        """What comes before the first rows."""
        head = 8 if kind == 0 else 4 + int.from_bytes(blob[:4], "little")
        n = int.from_bytes(blob[head + 4:head + 8], "little")
        self.assertEqual(n, N)
        return blob[:head + 8 + n * (24 if ext else 12)]

    def test_every_decoder(self):
        import make_models
        specs = [(s["name"], s) for s in make_models.specs(os.environ.get("FAMILIES", "")) if not LEFT.match(s["name"])]
        self.exchange(specs)

    def test_what_the_specs_leave_out(self):
        self.exchange([(n, c().s) for n, c in decoders.CASES.items()])

    def test_embeddings_in_a_plane(self):
        """Cells of one position each, as those of an image: where they stand is in the state."""
        for a, _ in self.exchange([(n, decoders.Spec(n).s) for n in PLANE], plane=[4, 5]):
            cells = np.frombuffer(self.cells(a["states"][0], 0, True)[16:], np.int32).reshape(N, 6)
            self.assertEqual(cells[10:15, [0, 2, 3, 4]].tolist(), [[10, x + 10, 10, -1] for x in range(5)])
            self.assertEqual(cells[30:, [0, 2, 3]].tolist(), [[p, p, p] for p in range(15, 25)])

    def test_the_version_before(self):
        """Its cells have no token."""
        (ours, _), = self.exchange([(PLANE[0], decoders.Spec(PLANE[0]).s)])
        blob = ours["states"][0]
        cells = np.frombuffer(blob[16:16 + 24 * N], np.int32).reshape(N, 6)
        older = blob[:16] + cells[:, [0, 1, 2, 3, 5]].tobytes() + blob[16 + 24 * N:]
        import make_models
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "model.gguf")
            make_models.build(decoders.Spec(PLANE[0]).s, path)
            tokens = [int(t) for t in np.random.default_rng(17).integers(0, 128, N + MORE)]
            for file in (None, 2):
                got, = sides.run("ours", "layouts:resumed", [{"model": path, "tokens": tokens, "n": N, "states": [older], "version": file}])
                self.assertTrue(np.array_equal(got[0], ours["next"]), file)


if __name__ == "__main__":
    unittest.main()
