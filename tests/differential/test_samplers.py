"""Samplers: after every step what is left, to the bit, and what is drawn are the original's, for the same seeds."""
import os, random, unittest
import sides

CHAINS = {
    "xtc": [("xtc", .6, .05, 1, 7), ("dist", 3)],
    "xtc after top_k": [("top_k", 40), ("xtc", .9, .01, 2, 8), ("temp", .7), ("dist", 4)],
    "top_n_sigma": [("top_n_sigma", 1.2), ("dist", 5)],
    "top_n_sigma, temp_ext": [("top_n_sigma", .8), ("temp_ext", .9, .4, 1.3), ("dist", 6)],
    "mirostat": [("temp", .9), ("mirostat", 11, 5.0, .1, 100)],
    "mirostat_v2": [("temp", 1.1), ("mirostat_v2", 12, 4.0, .2)],
    "adaptive_p": [("min_p", .02, 1), ("adaptive_p", .4, .9, 13)],
    "adaptive_p, all": [("adaptive_p", .05, .5, 14)],
    "penalties": [("penalties", 32, 1.2, .3, .4), ("top_k", 60), ("dist", 15)],
    "dry": [("dry", [b"\n", b":", b"\"", b" the"], .8, 1.5, 1, 64), ("top_k", 3), ("dist", 16)],
    "dry, no breakers": [("dry", [], 2.0, 2.0, 0, 16), ("greedy",)],
    "typical": [("typical", .8, 1), ("dist", 17)],
    "the usual": [("top_k", 40), ("top_p", .95, 1), ("min_p", .05, 1), ("temp", .8), ("dist", 18)],
    "top_p": [("top_p", .7, 5), ("dist", 19)],
    "many": [("top_k", 300), ("typical", .9, 3), ("top_p", .9, 2), ("temp_ext", 1.0, .5, 1.0), ("xtc", .5, .1, 1, 20), ("dist", 20)],
    "grammar": [("grammar", b'root ::= ([a-z]+ " ")+ "."'), ("top_k", 40), ("dist", 21)],
    "infill": [("top_k", 40), ("top_p", .9, 1), ("infill",), ("dist", 22)],
    "infill, all": [("infill",), ("greedy",)],
    "nothing": [("top_k", 0), ("top_p", 1.0, 1), ("temp", 1.0), ("greedy",)],
}


def cases(n_vocab):
    r, out = random.Random(0), {}
    for name, chain in CHAINS.items():
        for kind in ("wide", "flat", "ties", "peak"):
            case = {"chain": chain, "kind": kind, "seed": len(out), "steps": 14}
            # Its clone draws from the beginning again in the original, and goes on here.
            case["clone"] = "adaptive_p" not in name
            if name == "infill, all":
                case["tokens"] = sorted(r.sample(range(n_vocab), 200)) + [n_vocab - 1]
            out[f"{name}, {kind}"] = case
    return out


class Samplers(unittest.TestCase):
    def compare(self, model, n_vocab):
        c = cases(n_vocab)
        ours, original = sides.both("samplers:runs", {"model": model, "cases": list(c.values())})
        for name, a, b in zip(c, ours, original):
            with self.subTest(name):
                self.assertEqual(a, b)
        print(f"  {os.path.basename(model)}: {len(c)} chains, {sum(len(x) - 1 for x in original)} steps")

    def test_a_small_vocabulary(self):
        self.compare(sides.MODELS["llama"], 2048)

    def test_a_vocabulary_with_fill_in_the_middle(self):
        shared = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(sides.ROOT), "shared")
        model = os.path.join(shared, "conformance", "vocab", "ggml-vocab-refact.gguf")
        if not os.path.exists(model):
            self.skipTest(f"SKIPPED: there is no {model} (set CAMELID_SHARED to the folder that has conformance/)")
        self.compare(model, 49152)


if __name__ == "__main__":
    unittest.main()
