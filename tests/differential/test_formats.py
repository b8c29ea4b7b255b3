"""Every weight format on a file that the original's own quantiser wrote: the logits of both libraries agree within 8-bit noise."""
import os, re, sys, tempfile, unittest
import numpy as np
import sides
from test_decoders import SPECS, Spec
from test_families import LEFT

# llama_ftype: name. From the bundled Q8_0 files; mixes such as Q4_K_M bring several types into one file.
TYPES = {1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 12: "Q3_K_M", 15: "Q4_K_M", 17: "Q5_K_M", 18: "Q6_K",
         25: "IQ4_NL", 26: "IQ3_S", 30: "IQ4_XS", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0"}
# Float formats have no 8-bit inputs: what is left is the original's f16 in attention and (for BF16) in its inputs.
LIMIT = {"F16": 1e-5, "BF16": 1e-4}
QUANTISED = 1e-3
# NVFP4 inputs are 8 bits as well; routers near a tie make the most of it.
FP4, AT_ONCE = 3e-3, 8
# What a matrix, a row of embeddings, a norm, a bias and factors of positions can be made of nowhere.
NUMBERS = {"F64": np.float64, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
PLACES = ["token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_v.bias", "blk.1.ffn_gate_inp.weight", "blk.1.ffn_down_exps.weight",
          "rope_freqs.weight"]


def write(spec, path, tensor):
    """A file of `spec` whose tensors are what tensor(name, shape, values) says: (name, array, gguf's type or None) each."""
    import gguf, make_models as make
    w = gguf.GGUFWriter(path, spec["arch"])
    for k, t, v in spec["kv"]:
        if t.startswith("ARRAY:"):
            w.add_key_value(k, make.expand(v, t), make.T.ARRAY, make.T[t[6:]])
        elif k != "general.architecture":
            w.add_key_value(k, float(v) if "FLOAT" in t else v, make.T[t])
    for name, t, shape in spec["tensors"]:
        x = make.init(name, shape, f"{spec['name']}/{name}#0")
        for n, a, ty in [(name, np.abs(x * 100).astype(np.int32) % 2, None)] if t == "I32" else tensor(name, shape, x):
            w.add_tensor(n, a, raw_dtype=ty)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def fp4(rng):
    """Matrices as blocks of 64: four scales of 8 bits (small ones), 32 bytes of pairs. The head has a scale of its own."""
    import gguf, make_models as make
    ty = gguf.GGMLQuantizationType.NVFP4

    def tensor(name, shape, x):
        plain = len(shape) == 1 or shape[0] % 64 or not name.endswith("weight") or make.KEEP.search(name) or re.match("token_embd|per_layer", name)
        if plain:
            return [(name, x, None)]
        n = x.size // 64
        b = np.concatenate((rng.integers(6, 13, (n, 4), np.uint8), rng.integers(0, 256, (n, 32), np.uint8)), 1)
        scales = [("output.scale", np.float32([1.7]), None), ("output.input_scale", np.float32([0.6]), None)]
        return [(name, b.reshape(*shape[:0:-1], -1), ty)] + (scales if name == "output.weight" else [])
    return tensor


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

    def specs(self):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: formats of other decoders. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            self.skipTest("no specs")
        sys.path.insert(0, SPECS)
        import make_models
        return make_models.specs(os.environ.get("FAMILIES", ""))

    def test_fp4_with_scales(self):
        """Every decoder; per tensor and per expert its scale, and the head's where the original multiplies by it."""
        rng, worst = np.random.default_rng(5), 0.0
        # Its FFN has biases, at which the original ends the process.
        specs = [s for s in self.specs() if not LEFT.match(s["name"]) and s["name"] not in ("llama-dense", "mistral3-dense")]
        for first in range(0, len(specs), AT_ONCE):
            some = specs[first:first + AT_ONCE]
            with tempfile.TemporaryDirectory() as d:
                jobs = [{"model": os.path.join(d, s["name"]), "n_ctx": 128, "chunk": 16, "tokens": list(range(3, 67))} for s in some]
                for s, j in zip(some, jobs):
                    write(s, j["model"], fp4(rng))
                ours, theirs = sides.both("families:rows", jobs, CAMELID_COMPAT="1")
            for s, a, b in zip(some, ours, theirs):
                with self.subTest(s["name"]):
                    self.assertFalse(isinstance(a, str) or isinstance(b, str), f"{a}\n{b}")
                    a, b = np.float64(a), np.float64(b)
                    far = ((a - b) ** 2).sum() / (b ** 2).sum()
                    worst = max(worst, far)
                    self.assertLess(far, FP4)
        print(f"  NVFP4 with scales, {len(specs)} models: worst nmse {worst:.1e}")

    def test_numbers_that_nobody_computes_with(self):
        """The original ends the process, or fails; ours names the tensor and its type."""
        self.specs()
        spec = Spec("llama-moe").s
        for place in PLACES:
            for ty, of in NUMBERS.items():
                with self.subTest(f"{place} {ty}"), tempfile.TemporaryDirectory() as d:
                    path = os.path.join(d, "m.gguf")
                    write(spec, path, lambda name, _, x: [(name, np.round(3 * x).astype(of) if name == place else x, None)])
                    job = [{"model": path, "n_ctx": 64, "chunk": 8, "tokens": list(range(3, 11))}]
                    said, = sides.run("ours", "families:rows", job)
                    self.assertIsInstance(said, str)
                    self.assertIn(place, said)
                    self.assertIn(ty.lower(), said)
                    if ty in ("F64", "I32"):
                        try:
                            self.assertIsInstance(sides.run("original", "families:rows", job)[0], str, "the original has learnt it")
                        except sides.Failed:
                            pass


if __name__ == "__main__":
    unittest.main()
