"""Every decoder whose spec lies beside the project, at four times the context of its spec under YaRN, as a file of mixed types (Q4_K_M, written
by the original): logits side by side. Skipped, loudly, where the specs are not there."""
import json, os, re, sys, tempfile, unittest
import numpy as np
import sides
from test_decoders import SPECS

# Recurrent and hybrid ones are not built yet; encoders and diffusion have tests of their own.
LEFT = re.compile(r"(bailingmoe3|deepseek4|falcon-h1|glm5-next|granitehybrid|jamba|kimi-k3|kimi-linear|lfm2|lfm2moe|mamba|mamba2|minimax-01"
                  r"|nemotron_h|nemotron_h_moe|plamo2|qwen35|qwen35moe|qwen3next|qwen4exp)-|x-(arwkv7|rwkv6|rwkv7)"
                  r"|(dream|llada|llada-moe|rnd1)-|x-(.*bert.*|gemma-embedding|t5.*)$")
Q4_K_M, N_CTX, N_TOKENS, CHUNK, AT_ONCE = 15, 1024, 700, 100, 8
# Both sides round their inputs to 8 bits; routers near a tie make the most of it.
LIMIT = 2e-3
YARN = {"rope.scaling.type": ("STRING", "yarn"), "rope.scaling.factor": ("FLOAT32", 4.0),
        "rope.scaling.original_context_length": ("UINT32", N_CTX // 4), "context_length": ("UINT32", N_CTX)}


def scaled(spec):
    """As it is where positions are learned: a longer context takes a longer table."""
    if any(t[0] == "position_embd.weight" for t in spec["tensors"]):
        return spec
    names = {f"{spec['arch']}.{k}": v for k, v in YARN.items()}
    spec["kv"] = [r for r in spec["kv"] if r[0] not in names] + [[k, ty, v] for k, (ty, v) in names.items()]
    return spec


def length(spec):
    return min(N_TOKENS, next(v for k, _, v in spec["kv"] if k.endswith(".context_length")))


class Families(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPECS):
            print(f"  SKIPPED: families. There is no {SPECS} (set CAMELID_SHARED to the folder that has it).")
            raise unittest.SkipTest("no specs")
        sys.path.insert(0, SPECS)

    def test_four_times_the_context_of_a_mixed_file(self):
        import make_models
        specs = [scaled(s) for s in make_models.specs(os.environ.get("FAMILIES", "")) if not LEFT.match(s["name"])]
        rng = np.random.default_rng(11)
        tokens = [int(t) for t in rng.integers(0, 128, N_TOKENS)]
        for first in range(0, len(specs), AT_ONCE):
            some = specs[first:first + AT_ONCE]
            with tempfile.TemporaryDirectory() as d:
                plain, mixed = ([os.path.join(d, f"{s['name']}-{w}.gguf") for s in some] for w in ("f32", "mixed"))
                for spec, path in zip(some, plain):
                    make_models.build(spec, path)
                codes = sides.run("original", "families:quantise", [{"from": a, "to": b, "ftype": Q4_K_M} for a, b in zip(plain, mixed)])
                self.assertEqual(codes, [0] * len(some))
                jobs = [{"model": m, "n_ctx": N_CTX, "chunk": CHUNK, "tokens": tokens[:length(s)]} for s, m in zip(some, mixed)]
                # The original hides tokens of some models in a batch's first row only.
                ours, theirs = sides.both("families:rows", jobs, CAMELID_COMPAT="1")
            for spec, a, b in zip(some, ours, theirs):
                with self.subTest(spec["name"]):
                    self.assertFalse(isinstance(a, str) or isinstance(b, str), f"{a}\n{b}")
                    far = ((a - b) ** 2).sum() / (b ** 2).sum()
                    print(f"  {spec['name']}: nmse {far:.1e}")
                    self.assertLess(far, LIMIT)


if __name__ == "__main__":
    unittest.main()
