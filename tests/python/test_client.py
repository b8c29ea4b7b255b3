"""llama-cpp-python, unmodified, on our library and on the original: the same calls, results compared.

Greedy texts are equal up to a token where the original's own best two are closer than the noise (test_examples.py measures it: four
standard deviations are at most 0.3 in log-probability); sampled texts only have to repeat themselves for a seed, since among words of
nearly one probability the noise decides which is sorted first.
"""
import json, os, sys, unittest
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "differential"))
import oracle, sides

NEAR = 0.3
PROMPTS = ["Once upon a time", "<|im_start|>user\nTell me a story about a fox who lost her hat.<|im_end|>\n<|im_start|>assistant\n", "The old king said:",
           "One day, a little owl", "\"Help!\" cried the mouse."]
CHATS = [[{"role": "user", "content": "Tell me a story about a brave mouse."}],
         [{"role": "system", "content": "You tell stories."}, {"role": "user", "content": "Tell me a story about a king in the snow."}],
         [{"role": "user", "content": "Tell me a story about a cat."}, {"role": "assistant", "content": "Once there was a cat."}, {"role": "user", "content": "Go on."}]]
TEXTS = ["", " ", "Once upon a time", "  two  spaces\n\n\nlines\t", "Ünïcödé 你好 🚀 e\u0301", "<|im_start|>user\nHi<|im_end|>", "1234567 3.14", "don't I'LL we've", "a" * 300, "\u0000null"]
SHORT = sides.sentences()[:100]


def work(job):
    """Everything one side says about one model."""
    import llama_cpp

    def llama(**more):
        return llama_cpp.Llama(job["model"], n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False, **more)

    m, out = llama(logits_all=True, seed=7), {}
    out["about"] = {"metadata": m.metadata, "n_ctx": m.n_ctx(), "n_vocab": m.n_vocab(), "n_embd": m.n_embd(), "bos": m.token_bos(),
                    "eos": m.token_eos(), "nl": m.token_nl()}
    out["tokens"] = [[m.tokenize(t.encode(), add_bos=a, special=s) for a in (False, True) for s in (False, True)] for t in TEXTS]
    out["detokenized"] = [[m.detokenize(ids, special=s) for ids in row for s in (False, True)] for row in out["tokens"]]
    greedy = {"temperature": 0, "max_tokens": 100}
    out["greedy"] = [m.create_completion(p, logprobs=5, **greedy)["choices"][0] for p in PROMPTS]
    out["streamed"] = [list(m.create_completion(p, stream=True, **greedy)) for p in PROMPTS]
    out["stop"] = [m.create_completion(p, stop=[".", "!"], **greedy)["choices"][0] for p in PROMPTS]
    out["echo"] = [m.create_completion(p, echo=True, logprobs=3, temperature=0, max_tokens=3)["choices"][0] for p in PROMPTS]
    out["chat"] = [m.create_chat_completion(c, **greedy)["choices"][0] for c in CHATS]
    out["chat streamed"] = [list(m.create_chat_completion(c, stream=True, **greedy)) for c in CHATS]
    out["chat logprobs"] = [m.create_chat_completion(c, logprobs=True, top_logprobs=5, **greedy)["choices"][0] for c in CHATS]
    out["biased"] = [m.create_completion(p, logit_bias={str(m.tokenize(b".", add_bos=False)[0]): -100.0}, **greedy)["choices"][0]["text"] for p in PROMPTS]
    sampled = {"max_tokens": 40, "temperature": 1.0, "top_k": 40, "top_p": 0.95, "min_p": 0.02, "repeat_penalty": 1.1}
    out["seeds"] = [m.create_completion(PROMPTS[0], seed=s, **sampled)["choices"][0]["text"] for s in (1, 1, 2, 3)]
    out["mirostat"] = [m.create_completion(PROMPTS[0], seed=1, max_tokens=30, mirostat_mode=k)["choices"][0]["text"] for k in (1, 1, 2, 2)]
    out["short"] = [m.tokenize(t.encode()) for t in SHORT]
    m.reset()
    m.eval(m.tokenize(PROMPTS[0].encode()))
    out["scores"] = m.scores[:m.n_tokens].copy()
    if m.ctx and llama_cpp.llama_state_get_size(m.ctx) > 0:
        state = m.save_state()
        a = m.create_completion(PROMPTS[0] + " there", **greedy)["choices"][0]["text"]
        m.load_state(state)
        out["state"] = [a, m.create_completion(PROMPTS[0] + " there", **greedy)["choices"][0]["text"]]
    m.close()
    for name, pooling in (("none", 0), ("mean", 1), ("last", 3)):
        e = llama(embedding=True, pooling_type=pooling)
        out["embeddings " + name] = [e.embed(t) for t in SHORT]
        out["normalized " + name] = [e.embed(t, normalize=True) for t in SHORT]
        made = e.create_embedding(SHORT)
        out["usage " + name] = [made["usage"], len(made["data"])]
        e.close()
    return out


def stubs():
    """Names that the support matrix lists as not done yet."""
    with open(os.path.join(sides.ROOT, "docs", "MATRIX.md")) as f:
        return {line.split("`")[1] for line in f if line.startswith("| `") and line.rstrip().endswith("| stub |")}


def cosine(a, b):
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    return float(((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))).min())


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.results = {n: sides.both("test_client:work", {"model": m}) for n, m in sides.MODELS.items()}

    def pairs(self, key):
        """(ours, the original's) of every case of both models."""
        return [pair for ours, original in self.results.values() for pair in zip(ours[key], original[key], strict=True)]

    def test_exact(self):
        for name, (ours, original) in self.results.items():
            for key in ("about", "tokens", "detokenized"):
                with self.subTest(model=name, what=key):
                    self.assertEqual(ours[key], original[key])

    def near(self, tokens, tops, other, other_tops):
        """How many first tokens agree; the first that does not must be a near tie of the original. tops: token -> logprob, per token."""
        for i, (a, b) in enumerate(zip(tokens, other)):
            best = sorted(tops[i].values(), reverse=True)
            if a != b:
                self.assertLess(best[0] - best[1], NEAR, f"token {i}: {a!r} is sure, ours takes {b!r}")
                return i
            self.assertAlmostEqual(tops[i][a], other_tops[i][a], delta=NEAR)
        self.assertEqual(len(tokens), len(other))
        return len(tokens)

    def test_greedy(self):
        same = 0
        for ours, original in self.pairs("greedy"):
            lo, lu = original["logprobs"], ours["logprobs"]
            n = self.near(lo["tokens"], lo["top_logprobs"], lu["tokens"], lu["top_logprobs"])
            self.assertEqual("".join(lo["tokens"][:n]), "".join(lu["tokens"][:n]))
            if n == len(lo["tokens"]):
                self.assertEqual((ours["text"], ours["finish_reason"], lu["text_offset"]), (original["text"], original["finish_reason"], lo["text_offset"]))
            same += ours["text"] == original["text"]
        print(f"  completions: {same} of {len(PROMPTS) * len(sides.MODELS)} equal to the end")

    def test_greedy_chat(self):
        same = 0
        for ours, original in self.pairs("chat logprobs"):
            split = lambda c: ([t["token"] for t in c["logprobs"]["content"]], [{x["token"]: x["logprob"] for x in t["top_logprobs"]} for t in c["logprobs"]["content"]])
            n = self.near(*split(original), *split(ours))
            same += ours["message"] == original["message"]
            self.assertGreater(n, 0)
        for ours, original in self.pairs("chat"):
            self.assertEqual(ours["message"]["role"], original["message"]["role"])
        print(f"  chats: {same} of {len(CHATS) * len(sides.MODELS)} equal to the end")

    def test_streams(self):
        for name, sides_ in self.results.items():
            for side in sides_:
                for plain, parts in zip(side["greedy"], side["streamed"], strict=True):
                    self.assertEqual("".join(p["choices"][0]["text"] for p in parts), plain["text"])
                    self.assertEqual(parts[-1]["choices"][0]["finish_reason"], plain["finish_reason"])
                for plain, parts in zip(side["chat"], side["chat streamed"], strict=True):
                    self.assertEqual("".join(p["choices"][0]["delta"].get("content") or "" for p in parts), plain["message"]["content"])

    def test_stop_and_echo_and_bias(self):
        for name, sides_ in self.results.items():
            for side in sides_:
                for plain, stopped, echoed, biased, prompt in zip(side["greedy"], side["stop"], side["echo"], side["biased"], PROMPTS, strict=True):
                    until = min((plain["text"].find(s) for s in ".!" if s in plain["text"]), default=None)
                    self.assertEqual(stopped["text"], plain["text"][:until])
                    self.assertTrue(echoed["text"].startswith(prompt.replace("<|im_start|>", "").replace("<|im_end|>", "")) or echoed["text"].startswith(prompt))
                    tokens = plain["logprobs"]["tokens"]
                    if "." in tokens:
                        before = "".join(tokens[:tokens.index(".")])
                        self.assertTrue(biased.startswith(before))
                        self.assertNotEqual(biased, plain["text"])
        for ours, original in self.pairs("echo"):
            a, b = ours["logprobs"], original["logprobs"]
            n = min(len(a["tokens"]), len(b["tokens"])) - 3
            self.assertEqual(a["tokens"][:n], b["tokens"][:n])
            self.assertEqual(a["token_logprobs"][0], b["token_logprobs"][0])
            np.testing.assert_allclose(np.array(a["token_logprobs"][1:n], float), np.array(b["token_logprobs"][1:n], float), atol=4 * NEAR)

    def test_scores(self):
        for name, (ours, original) in self.results.items():
            self.assertLess(np.abs(ours["scores"] - original["scores"]).max(), 1.0)
            self.assertLess(np.sqrt(((ours["scores"] - original["scores"]) ** 2).mean()), 0.1)

    def test_seeds(self):
        for name, sides_ in self.results.items():
            for side in sides_:
                a, b, c, d = side["seeds"]
                self.assertEqual(a, b)
                self.assertGreater(len({a, c, d}), 1)
                self.assertEqual(*side["mirostat"][:2])
                self.assertEqual(*side["mirostat"][2:])
            print(f"  {name}: {sum(a == b for a, b in zip(sides_[0]['seeds'], sides_[1]['seeds']))} of 4 sampled texts equal to the original's")

    def test_embeddings(self):
        """Against the oracle: the original's own rounding of activations turns its embeddings by more than 1e-4 already."""
        pool = {"none": lambda h: h, "mean": lambda h: h.mean(0), "last": lambda h: h[-1]}
        off, smallest = np.zeros(2), 1.0
        for name, both in self.results.items():
            truth = oracle.Oracle(sides.MODELS[name])
            exact = [truth.embeddings(t) for t in both[1]["short"]]
            for pooling, f in pool.items():
                ours, original = ([np.asarray(e) for e in side["embeddings " + pooling]] for side in both)
                for a, b, e in zip(ours, original, exact, strict=True):
                    self.assertEqual(a.shape, b.shape)
                    off += [1 - cosine(a, f(e)), 1 - cosine(b, f(e))]
                    smallest = min(smallest, cosine(a, b))
                    self.assertLess(np.abs(np.linalg.norm(a) / np.linalg.norm(b) - 1), 0.02)
                for a, b in zip(both[0]["normalized " + pooling], ours, strict=True):
                    self.assertGreater(cosine(a, b), 1 - 1e-9)
                    self.assertAlmostEqual(float(np.linalg.norm(np.atleast_2d(a), axis=-1).max()), 1, places=5)
                self.assertEqual(both[0]["usage " + pooling], both[1]["usage " + pooling])
        print(f"  embeddings: smallest cosine to the original's {smallest:.6f}; mean 1 - cosine to the oracle: ours {off[0] / len(SHORT) / 6:.2e}, "
              f"the original's {off[1] / len(SHORT) / 6:.2e}")
        self.assertGreater(smallest, 0.998)
        self.assertLess(off[0], 1.15 * off[1])

    def test_state(self):
        for name, (ours, original) in self.results.items():
            if "state" not in ours:
                self.assertIn("llama_state_get_size", stubs(), "listed as done, but gives no state")
                print("  NOT TESTED: save_state and load_state, which are stubs of our library still")
                return
            for side in (ours, original):
                self.assertEqual(*side["state"])


if __name__ == "__main__":
    unittest.main()
