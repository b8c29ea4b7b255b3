"""The C examples on our library and on the original: the same text, except after a step that the original itself might do otherwise.

Two libraries that quantise activations differ by a noise, and where the best two tokens are closer than it either may come first. The
noise is measured: per step, with both on the original's tokens, how much the distance between the original's best two tokens differs.
A text may part from the original's only at a step whose distance is below NEAR times the noise; elsewhere a difference is a mistake.
Such steps are counted, and so are those between two CPU back ends of the original on the same tokens: what it does not keep itself
cannot be asked of us.
"""
import unittest
import numpy as np
import sides

NEAR = 4          # standard deviations: a wider difference than that is not noise
LIMIT = 1 / 1000  # of the steps
N = 200

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
ASKED = ["Tell me a story about a fox who lost her hat.", "Tell me a story about a brave mouse.", "Tell me a story about a princess and a dragon.",
         "Tell me a story about a king in the snow."]
PROMPTS = [CHAT.format(a) for a in ASKED] + ["Once upon a time", "One day, a little owl", "The rabbit said: \"", "Basil the fairy lived on the old farm."]


def margins(logits, best):
    """Distance between the two tokens of `best`, per step."""
    r = np.arange(len(logits))
    return logits[r, best[:, 1]].astype(np.float64) - logits[r, best[:, 0]]


class Steps:
    """One model, all prompts: the original's tokens, its distances, and those of another library on the same tokens."""

    def __init__(self, original, other):
        self.original = original
        self.gap, self.delta, self.flips = [], [], []
        for a, b in zip(original, other):
            best = np.argsort(a["logits"], -1)[:, -2:]
            gap = margins(a["logits"], best)
            self.gap.append(gap)
            self.delta.append(margins(b["logits"], best) - gap)
            self.flips.append(np.flatnonzero(a["logits"].argmax(-1) != b["logits"].argmax(-1)))
        self.noise = float(np.sqrt((np.concatenate(self.delta) ** 2).mean()))
        self.n, self.n_flips = sum(map(len, self.gap)), sum(map(len, self.flips))

    def far_flips(self):
        return [(k, int(i), float(self.gap[k][i])) for k, f in enumerate(self.flips) for i in f if self.gap[k][i] >= NEAR * self.noise]


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.steps, cls.own = {}, {}
        prompts = [(p, N) for p in PROMPTS]
        for name, model in sides.MODELS.items():
            job = {"model": model, "prompts": prompts}
            original = sides.run("original", "logits:greedy", job)
            job["follow"] = [o["tokens"] for o in original]
            ours, own = sides.each([lambda: sides.run("ours", "logits:greedy", job),
                                    lambda: sides.run("original", "logits:greedy", job, ORIGINAL_CPU="x64")])
            cls.steps[name], cls.own[name] = Steps(original, ours), Steps(original, own)

    def test_steps(self):
        for name, ours in self.steps.items():
            own = self.own[name]
            print(f"  {name}: {ours.n} steps; other arg max {ours.n_flips}, noise {ours.noise:.4f}; "
                  f"between two back ends of the original {own.n_flips}, noise {own.noise:.4f}")
            with self.subTest(name):
                self.assertEqual(ours.far_flips(), [], "other tokens where the original is sure: (prompt, step, distance)")
                allowed = max(LIMIT * ours.n, own.n_flips + 3 * own.n_flips**0.5)
                self.assertLessEqual(ours.n_flips, allowed)

    def texts(self, name, run):
        """Runs one program for every prompt on both sides: yields (prompt's number, the original's text, ours)."""
        calls = [lambda s=s, p=p: run(s, p) for p in PROMPTS for s in ("original", "ours")]
        out = sides.each(calls)
        return [(k, out[2 * k], out[2 * k + 1]) for k in range(len(PROMPTS))]

    def same(self, name, k, original, ours):
        """Equal, or equal up to the first step of this prompt where the arg max differs and may."""
        flips = self.steps[name].flips[k]
        text = self.steps[name].original[k]["text"]
        self.assertIn(text, original, "the steps were measured on another text than the program writes")
        if original == ours or not len(flips):
            self.assertEqual(original, ours)
            return True
        until = self.steps[name].original[k]["upto"][flips[0]]
        start = original.index(text)
        self.assertEqual(original[:start + until], ours[:start + until], f"prompt {k}, before step {flips[0]}")
        return False

    def check(self, name, results):
        equal = 0
        for k, original, ours in results:
            with self.subTest(model=name, prompt=PROMPTS[k]):
                equal += self.same(name, k, original, ours)
        print(f"  {equal} of {len(results)} texts equal to the end")

    def test_simple(self):
        for name, model in sides.MODELS.items():
            self.check(name, self.texts(name, lambda side, p: sides.program(side, "simple", model, p, N)))

    def test_batched(self):
        """Four sequences that share a prompt; greedy, so each writes what a single one does."""
        for name, model in sides.MODELS.items():
            results = self.texts(name, lambda side, p: sides.program(side, "batched", model, p, 4, N, 0))
            for k, original, ours in results:
                parts = [ours.split("--- ")[1:][i][2:] for i in range(4)]
                self.assertEqual(len(set(parts)), 1, "sequences with one prompt differ")
            self.check(name, [(k, o.split("--- ")[1], u.split("--- ")[1]) for k, o, u in results])

    def test_chat(self):
        """Two turns; the first answer is measured above, after it both must go on."""
        for name, model in sides.MODELS.items():
            lines = [(a, f"{a}\n{ASKED[i - 1]}\n\n") for i, a in enumerate(ASKED)]
            out = sides.each([lambda s=s, t=t: sides.program(s, "chat", model, 1024, 0, stdin=t) for _, t in lines for s in ("original", "ours")])
            equal = 0
            for k in range(len(lines)):
                original, ours = out[2 * k], out[2 * k + 1]
                with self.subTest(model=name, asked=ASKED[k]):
                    for side, text in (("original", original), ("ours", ours)):
                        self.assertEqual(text.count("> "), 3, f"{side} did not answer twice: {text!r}")
                    first = [t.split("\n")[0] for t in (original, ours)]
                    equal += original == ours
                    if not len(self.steps[name].flips[k]):
                        n = min(len(first[0]), len(self.steps[name].original[k]["text"]))
                        self.assertEqual(first[0][:n], first[1][:n])
            print(f"  chat {name}: {equal} of {len(lines)} conversations equal to the end")


if __name__ == "__main__":
    unittest.main()
