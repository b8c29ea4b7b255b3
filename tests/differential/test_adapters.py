"""LoRA adapters and control vectors beside the original: on the bundled models; and where specs lie beside the project on every decoder of them, with
mixtures, latent attention, fused matrices."""
import os, re, sys, tempfile, unittest
import numpy as np
import adapters, sides
from test_decoders import SPECS
from test_families import LEFT

# Bundled models: both sides round inputs to 8 bits. Others are f32, and what is left is f16 keys and values.
ROUNDED, EXACT = 1e-3, 1e-4
AT_ONCE = 8
# What the original multiplies without a look at adapters, in silence; here it is adapted like any other matrix (README, "Where we differ").
UNSEEN = {
    **dict.fromkeys(("deepseek2", "deepseek32", "glm-dsa", "dots3note", "hy_v4", "mistral4"), r"attn_(q|kv|k|v)|attn_gate|indexer|^output"),
    "minicpm3": r"attn_(q|kv)", "gemma4": r"per_layer_model_proj", "gemma3n": r"per_layer_model_proj|altup",
}
# There it scales the sum of a product and its adapter where others scale the product.
SCALED_LATER = re.compile(r"glm4|jais2")
# One matrix per head, or per stream: no adapter's, here as there.
STACKED = r"attn_[kv]_b\.|altup_proj|altup_unembd_proj"


def nmse(a, b):
    seen = np.isfinite(b) & (np.abs(b) < 1e30)
    return float(((a - b)[seen] ** 2).sum() / (b[seen] ** 2).sum())


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)


class Bundled(Files):
    def compare(self, model, files, runs, **params):
        """Every run's logits on both sides."""
        ours, theirs = sides.both("adapters:logits", {"model": model, "adapters": files, "runs": runs, "params": params})
        self.assertFalse(isinstance(ours, str) or isinstance(theirs, str), f"{ours}\n{theirs}")
        for i, (a, b) in enumerate(zip(ours, theirs)):
            with self.subTest(model=os.path.basename(model), run=i):
                self.assertLess(nmse(a, b), ROUNDED)
        return ours, theirs

    def test_matrices(self):
        """One adapter, two, scales of any sign; then the base is back, bit for bit."""
        for name, model in sides.MODELS.items():
            base = adapters.Base(model)
            files = [adapters.random(self.path(f"{name}-{i}.gguf"), base, base.matrices(), rank=r, alpha=a, seed=i, kind=k)
                     for i, (r, a, k) in enumerate(((8, 16.0, "f32"), (16, None, "f16"), (32, 8.0, "q8_0"), (12, 5.0, "bf16")))]
            tokens = [int(t) for t in np.random.default_rng(3).integers(3, 400, 120)]
            sets = [[], [(0, 1.0)], [(0, 0.5), (1, -0.7)], [(1, -0.7), (0, 0.5)], [(1, 1.0), (0, 0.0)], [(2, 1.0)], [(3, 0.8)], []]
            ours, _ = self.compare(model, files, [{"loras": s, "tokens": tokens, "chunk": c} for s in sets for c in (120, 7)])
            for rows in ours[2:-2:2]:
                self.assertGreater(nmse(rows, ours[0]), 3 * ROUNDED, "the adapter changes nothing")
            for a, b in zip(ours[::2], ours[1::2]):
                self.assertTrue((a == b).all(), "other bits in other batches")
            self.assertTrue((ours[4] == ours[6]).all(), "other bits in another order")
            self.assertTrue((ours[0] == ours[-2]).all(), "switched off, the base is not back")

    def test_directions(self):
        """All layers, some, none of them; rows that a call leaves out stay."""
        for name, model in sides.MODELS.items():
            n_embd = adapters.Base(model).shapes["output_norm.weight"][0]
            rows = np.random.default_rng(4).normal(size=(20, n_embd)) * 0.5
            tokens = [int(t) for t in np.random.default_rng(3).integers(3, 400, 60)]
            cvecs = [(None, 0, 0), (rows, 0, 99), (rows, 2, 3), (rows[:1] * 2, 1, 99), (rows, 7, 3), (rows, -5, 1), (None, 1, 9)]
            ours, _ = self.compare(model, [], [{"cvec": v, "tokens": tokens, "chunk": c} for v in cvecs for c in (60, 9)])
            for i in (2, 4, 6, 10):
                self.assertGreater(nmse(ours[i], ours[0]), 3e-4, "the direction changes nothing")
            self.assertTrue((ours[0] == ours[-2]).all() and (ours[0] == ours[8]).all(), "switched off, the base is not back")
            for a, b in zip(ours[::2], ours[1::2]):
                self.assertTrue((a == b).all(), "other bits in other batches")

    def test_both_and_what_was_kept(self):
        """Adapters and directions together; a text that goes on under others keeps what memory has of it."""
        for name, model in sides.MODELS.items():
            base = adapters.Base(model)
            files = [adapters.random(self.path(f"{name}.gguf"), base, base.matrices(r"attn|down"), alpha=8.0)]
            rows = np.random.default_rng(4).normal(size=(20, base.shapes["output_norm.weight"][0])) * 0.3
            tokens = [int(t) for t in np.random.default_rng(5).integers(3, 400, 90)]
            runs = [{"loras": [(0, 1.0)], "cvec": (rows, 1, 9), "tokens": tokens[:40]},
                    {"loras": [], "cvec": (None, 0, 0), "tokens": tokens[40:60], "keep": True},
                    {"loras": [(0, -1.0)], "tokens": tokens[60:], "keep": True}]
            self.compare(model, files, runs)


class Specs(Files):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: adapters of decoders. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)

    def specs(self, pattern):
        import make_models
        return [s for s in make_models.specs(pattern) if not LEFT.match(s["name"])]

    def unscale(self, spec):
        spec["tensors"] = [t for t in spec["tensors"] if not re.search(r"(?<!out)(\.|_)scale$", t[0])]

    def job(self, spec, rng):
        """A model, an adapter of every matrix, and runs: bare, with the adapter, with directions."""
        import make_models
        if SCALED_LATER.match(spec["name"]):
            self.unscale(spec)
        model, lora = self.path(spec["name"] + ".gguf"), self.path(spec["name"] + "-lora.gguf")
        make_models.build(spec, model)
        base = adapters.Base(model)
        unseen = UNSEEN.get(base.arch)
        names = [n for n in base.matrices() if not unseen or not re.search(unseen, n)]
        if "output.weight" in base.shapes:
            names.append(adapters.TABLE)
        adapters.random(lora, base, names, alpha=12.0)
        tokens = [int(t) for t in rng.integers(0, 128, 48)]
        rows = rng.normal(size=(99, base.shapes[adapters.TABLE][0])) * 0.3
        return {"model": model, "adapters": [lora], "runs": [{"tokens": tokens}, {"tokens": tokens, "loras": [(0, 0.9)]},
                                                             {"tokens": tokens, "cvec": (rows, 1, 98)}]}

    def test_every_decoder(self):
        rng, specs = np.random.default_rng(11), self.specs(os.environ.get("FAMILIES", ""))
        for first in range(0, len(specs), AT_ONCE):
            some = specs[first:first + AT_ONCE]
            jobs = [self.job(s, rng) for s in some]
            # The original hides tokens of some models in a batch's first row only.
            for spec, a, b in zip(some, *sides.both("adapters:many", jobs, CAMELID_COMPAT="1")):
                with self.subTest(spec["name"]):
                    self.assertFalse(isinstance(a, str) or isinstance(b, str), f"{a}\n{b}")
                    far, moved = [nmse(x, y) for x, y in zip(a, b)], [nmse(x, b[0]) for x in b]
                    print(f"  {spec['name']}: nmse {far[1]:.1e} of {moved[1]:.1e} with an adapter, {far[2]:.1e} of {moved[2]:.1e} with directions")
                    self.assertLess(max(far), EXACT)
                    self.assertGreater(moved[1], 0.01)
            for j in jobs:
                os.remove(j["model"])

    def test_as_if_it_were_in_the_weights(self):
        """What the original does not show: adapters beside all matrices of latent attention and indices are what they are merged."""
        import make_models
        pattern = r"^(deepseek2|deepseek32|glm-dsa|dots3note|hy_v4|mistral4|minicpm3|llama-moe|llama4|gpt-oss|phi3|chatglm|x-gemma4|x-gemma3n)"
        for spec in self.specs(pattern):
            with self.subTest(spec["name"]):
                model, merged, lora = (self.path(n) for n in ("base.gguf", "merged.gguf", "lora.gguf"))
                self.unscale(spec)
                make_models.build(spec, model)
                base = adapters.Base(model)
                # As f32: other types would be rounded once more.
                names = [n for n in base.matrices() if not re.search(STACKED, n)]
                pairs = adapters.random_pairs(base, names, strength=0.2)
                adapters.write(lora, base.arch, pairs, alpha=4.0)
                adapters.merge(model, merged, pairs, 0.5 * 4.0 / 8)
                tokens = [int(t) for t in np.random.default_rng(2).integers(0, 128, 48)]
                jobs = [{"model": model, "adapters": [lora], "runs": [{"tokens": tokens, "loras": [(0, 0.5)]}, {"tokens": tokens}]},
                        {"model": merged, "adapters": [], "runs": [{"tokens": tokens}]}]
                beside, inside = sides.run("ours", "adapters:many", jobs)
                self.assertFalse(isinstance(beside, str) or isinstance(inside, str), f"{beside}\n{inside}")
                far, moved = nmse(beside[0], inside[0]), nmse(beside[1], inside[0])
                print(f"  {spec['name']}: nmse {far:.1e} of {moved:.1e}")
                self.assertLess(far, EXACT / 10)
                self.assertGreater(moved, 0.001)


if __name__ == "__main__":
    unittest.main()
