"""LoRA adapters and control vectors beside the original: bundled models and, where the specs are there, mixtures, latent attention and fused
matrices."""
import os, tempfile, unittest
import numpy as np
import adapters, sides

# Inputs of both are rounded to 8 bits.
LIMIT = 1e-3


def nmse(a, b):
    return float(((a - b) ** 2).sum() / (b ** 2).sum())


class Bundled(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def compare(self, model, files, runs, limit=LIMIT, **params):
        """Every run's logits on both sides; how far runs are from the first one's."""
        ours, theirs = sides.both("adapters:logits", {"model": model, "adapters": files, "runs": runs, "params": params})
        self.assertFalse(isinstance(ours, str) or isinstance(theirs, str), f"{ours}\n{theirs}")
        for i, (a, b) in enumerate(zip(ours, theirs)):
            with self.subTest(run=i):
                print(f"  {os.path.basename(model)} run {i}: nmse {nmse(a, b):.1e}, from run 0 {nmse(b, theirs[0]) if b.shape == theirs[0].shape else 0:.1e}")
                self.assertLess(nmse(a, b), limit)
        return ours, theirs

    def test_every_matrix(self):
        for name, model in sides.MODELS.items():
            base = adapters.Base(model)
            files = [adapters.random(self.path(f"{name}-{i}.gguf"), base, base.matrices(), rank=8 * (i + 1), alpha=a, seed=i, kind=k)
                     for i, (a, k) in enumerate(((16.0, "f32"), (None, "f16")))]
            tokens = [int(t) for t in np.random.default_rng(3).integers(3, 400, 120)]
            sets = [[], [(0, 1.0)], [(0, 0.5), (1, -0.7)], [(1, 1.0), (0, 0.0)], []]
            ours, theirs = self.compare(model, files, [{"loras": s, "tokens": tokens, "chunk": c} for s in sets for c in (120, 7)])
            for rows in ours[2:8:2]:
                self.assertGreater(nmse(rows, ours[0]), 0.01, "the adapter changes nothing")
            for a, b in zip(ours[::2], ours[1::2]):
                self.assertTrue((a == b).all(), "other bits in other batches")
            self.assertTrue((ours[0] == ours[8]).all(), "switched off, the base is not back")


if __name__ == "__main__":
    unittest.main()
