"""Hidden states that drafts and further heads take (llama-ext.h), and the table of embeddings: ours beside the original's. Skipped, loudly, where
neither the specs beside the project nor the original that ../clients builds are there."""
import os, sys, tempfile, unittest
import numpy as np
import sides
from test_batches import SOURCE
from test_decoders import SPECS

# The original gives the input of layers for some architectures and what next-token heads take for others; it ends the process for the rest.
LAYERS = ("llama-dense", "qwen3-dense", "qwen3moe-moe", "gpt-oss-moe", "minimax-m2-moe", "muse-glimmer-dense")
NEXT = ("gpt-oss-moe", "glm4moe-moe", "deepseek2-moe", "deepseek32-moe", "glm-dsa-moe", "cohere2moe-moe", "hy_v3-moe", "mimo2-moe", "x-step35", "x-gemma4")
# Its rows for outputs alone are not those that it gives among all rows (nmse 0.1); ours are.
ONLY_ALL = ("mimo2-moe",)
LIMIT = 1e-4


def nmse(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return ((a - b) ** 2).sum() / max((b ** 2).sum(), 1e-30)


class Hidden(unittest.TestCase):
    def same(self, what, a, b):
        self.assertEqual(np.shape(a), np.shape(b), what)
        self.assertLess(nmse(a, b), LIMIT, what)
        return nmse(a, b)

    def test_beside_the_original(self):
        if not (os.path.exists(os.path.join(SOURCE, "libllama.so")) and os.path.isdir(SPECS)):
            print(f"  SKIPPED: hidden states. There is no {SOURCE}/libllama.so (make test-clients builds it) or no {SPECS}.")
            raise unittest.SkipTest("no original of this version, or no specs")
        sys.path.insert(0, SPECS)
        import make_models
        sides.SIDES["source"] = SOURCE
        tokens = [int(t) for t in np.random.default_rng(5).integers(0, 128, 44)]
        names = list(dict.fromkeys(LAYERS + NEXT))
        with tempfile.TemporaryDirectory() as d:
            jobs = []
            for name in names:
                (spec,) = [s for s in make_models.specs(f"^{name}$") if s["name"] == name]
                jobs.append({"model": os.path.join(d, name + ".gguf"), "tokens": tokens, "layers": name in LAYERS, "next": name in NEXT})
                make_models.build(spec, jobs[-1]["model"])
            ours, theirs = sides.each([lambda s=s: sides.run(s, "hidden:each", jobs) for s in ("ours", "source")])
        for job, mine, other in zip(jobs, ours, theirs):
            name, worst = os.path.basename(job["model"])[:-5], 0.0
            with self.subTest(name):
                pairs = list(zip(mine, other))
                for a, b in pairs[:3] + pairs[-1:] if name in ONLY_ALL else pairs:
                    if isinstance(b, dict):
                        self.assertEqual(a.keys(), b.keys())
                        for k in b:
                            worst = max(worst, self.same(f"{name}: {k}", a[k], b[k]))
                    else:
                        self.assertTrue(np.array_equal(a, b), f"{name}: the table, or what the model says of drafts")
                print(f"  {name}: {'layers ' if job['layers'] else ''}{'next ' if job['next'] else ''}nmse {worst:.1e}")

    def test_ours(self):
        for name, model in sides.MODELS.items():
            tokens = list(range(3, 40))
            got = sides.run("ours", "hidden:own", {"model": model, "tokens": tokens})
            self.assertEqual([got[k] for k in ("logits", "next", "again")], [True] * 3, name)
            self.assertEqual((got["gone"], got["out of range"]), ([False] * 4, [False] * 3), name)
            self.assertTrue(np.isfinite(got["last"]).all() and got["last"].std() > 0)
            # What goes into the first layer is the table's rows, scaled as the model does.
            table = sides.run("ours", "hidden:tables", {"model": model})[tokens]
            scale = (got["first"] * table).sum() / (table ** 2).sum()
            self.assertLess(nmse(got["first"], scale * table), 1e-6, name)


if __name__ == "__main__":
    unittest.main()
