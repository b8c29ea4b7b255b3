"""Every weight format on a file that the original's own quantiser wrote: the logits of both libraries agree within 8-bit noise."""
import os, tempfile, unittest
import numpy as np
import sides

# llama_ftype: name. From the bundled Q8_0 files; mixes such as Q4_K_M bring several types into one file.
TYPES = {1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 12: "Q3_K_M", 15: "Q4_K_M", 17: "Q5_K_M", 18: "Q6_K",
         25: "IQ4_NL", 26: "IQ3_S", 30: "IQ4_XS", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0"}
# Float formats have no 8-bit inputs: what is left is the original's f16 in attention and (for BF16) in its inputs.
LIMIT = {"F16": 1e-5, "BF16": 1e-4}
QUANTISED = 1e-3


class Formats(unittest.TestCase):
    def test_files_of_the_originals_quantiser(self):
        for name, model in sides.MODELS.items():
            for ftype, label in TYPES.items():
                with self.subTest(f"{name} {label}"), tempfile.TemporaryDirectory() as d:
                    out = os.path.join(d, "m.gguf")
                    self.assertEqual(sides.run("original", "logits:quantize", {"from": model, "to": out, "ftype": ftype}), 0)
                    job = {"model": out, "texts": sides.heldout()[:2], "n_ctx": 256}
                    a, b = (np.concatenate(x).astype(np.float64) for x in sides.both("logits:of_text", job))
                    nmse = ((a - b) ** 2).sum() / (b ** 2).sum()
                    print(f"  {name} {label}: nmse {nmse:.1e}")
                    self.assertLess(nmse, LIMIT.get(label, QUANTISED))


if __name__ == "__main__":
    unittest.main()
