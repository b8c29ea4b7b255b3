"""Context parameters that change the computation: rotations and KV types give the original's logits, up to 8-bit noise."""
import unittest
import numpy as np
import sides

LINEAR, YARN, NONE = 1, 2, 0  # llama_rope_scaling_type
F32, F16, Q8_0 = 0, 1, 8  # ggml_type
CASES = [
    {"rope_freq_scale": 0.5},
    {"rope_freq_base": 50000.0},
    {"rope_scaling_type": NONE, "rope_freq_scale": 0.5},
    {"rope_scaling_type": YARN, "rope_freq_scale": 0.25, "yarn_orig_ctx": 64},
    {"rope_scaling_type": YARN, "rope_freq_scale": 0.25, "yarn_ext_factor": 0.5, "yarn_attn_factor": 1.2, "yarn_beta_fast": 16.0,
     "yarn_beta_slow": 2.0},
    {"type_k": F32, "type_v": F32},
    {"type_k": Q8_0, "type_v": Q8_0},
    {"type_k": Q8_0, "type_v": F16},
]
LIMIT = 1e-3
# K and V of four and five bits: each library is as far from what F32 gives as its rounding makes it. Both transform rows before they round them.
SMALL = {"q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2, "iq4_nl": 20}
MORE_THAN_THE_ORIGINAL = 1.5


class Parameters(unittest.TestCase):
    def test_parameters(self):
        for name, model in sides.MODELS.items():
            plain = None
            for params in [{}] + CASES:
                with self.subTest(f"{name} {params}"):
                    job = {"model": model, "texts": sides.heldout()[:1], "n_ctx": 256, "params": params}
                    a, b = (np.concatenate(x).astype(np.float64) for x in sides.both("logits:of_text", job))
                    plain = b if plain is None else plain
                    nmse = ((a - b) ** 2).sum() / (b ** 2).sum()
                    print(f"  {name} {params}: nmse {nmse:.1e}")
                    self.assertLess(nmse, LIMIT)
                    if any(p.startswith("rope_freq") for p in params) and params.get("rope_scaling_type") != NONE and name == "llama":
                        self.assertGreater(((b - plain) ** 2).sum() / (b ** 2).sum(), 10 * LIMIT, "the parameter did nothing")

    def test_small_types_of_k_and_v(self):
        for name, model in sides.MODELS.items():
            exact = None
            for label, ty in ("f32", F32), *SMALL.items():
                with self.subTest(f"{name} {label}"):
                    params = {"type_k": ty, "type_v": ty, "flash_attn_type": 1}
                    job = {"model": model, "texts": sides.heldout()[:1], "n_ctx": 256, "params": params}
                    a, b = (np.concatenate(x).astype(np.float64) for x in sides.both("logits:of_text", job))
                    exact = b if exact is None else exact
                    ours, theirs = (((x - exact) ** 2).sum() / (exact ** 2).sum() for x in (a, b))
                    print(f"  {name} {label}: nmse to F32 {ours:.1e}, the original's {theirs:.1e}")
                    self.assertLess(ours, MORE_THAN_THE_ORIGINAL * theirs + LIMIT)
                    if label == "q4_0":
                        bare = np.concatenate(sides.run("ours", "logits:of_text", job, LLAMA_ATTN_ROT_DISABLE="1"))
                        apart, without = (float(((x - b) ** 2).sum()) for x in (a, bare))
                        self.assertLess(apart, without / 2, "transformed rows are rounded as the original's are")


if __name__ == "__main__":
    unittest.main()
