"""`cb_eval`: named values and the inputs of matrices are those of the original, and looking changes no bit of ours."""
import os, sys, tempfile, unittest
import numpy as np
import sides
from test_decoders import SPECS

NAMES = ["l_out", "attn_norm", "ffn_inp", "ffn_norm", "result_norm", "result_output"]
TEXT = sides.heldout()[0][:300]
# Relative, of a value's rows: two libraries that round inputs of products their own ways. Bundled models are trained, spec models are random and in f32.
NEAR = 3e-2


def distance(a, b):
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-9)


class Seen(unittest.TestCase):
    def compare(self, ours, original, near):
        self.assertTrue((ours["logits"][False] == ours["logits"][True]).all(), "looking changed bits")
        missing = [n for n in original["seen"] if n not in ours["seen"]]
        self.assertEqual(missing, [])
        for name, want in original["seen"].items():
            got = ours["seen"][name]
            self.assertEqual(got.shape, want.shape, name)
            self.assertLess(distance(got, want), near, name)
        self.assertEqual(sorted(ours["squares"]), sorted(original["squares"]))
        for name, (want, count) in original["squares"].items():
            got, n = ours["squares"][name]
            np.testing.assert_array_equal(n, count, name)
            self.assertLess(distance(got, want), 2 * near, name)

    def test_bundled(self):
        for name, path in sides.MODELS.items():
            with self.subTest(name):
                ours, original = sides.both("watching:look", {"model": path, "tokens": TEXT, "names": NAMES})
                self.compare(ours, original, NEAR)

    def test_experts_fused_and_latent(self):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: experts and latent attention. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)
        import make_models
        from test_decoders import Spec
        tokens = [(7 * i + 3) % 120 for i in range(24)]
        for name in ("qwen3moe-moe", "deepseek2-moe", "phi3-dense", "gpt-oss-moe"):
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "model.gguf")
                make_models.build(Spec(name).s, path)
                ours, original = sides.both("watching:look", {"model": path, "tokens": tokens, "names": ["l_out", "result_norm"]})
                self.compare(ours, original, 1e-3)

    def test_an_observer_ends_the_run(self):
        for after in (1, 40):
            got = sides.run("ours", "watching:stop", {"model": sides.MODELS["llama"], "after": after})
            self.assertEqual(got["codes"], [2, 0])
            self.assertEqual(got["inside"], -3)
