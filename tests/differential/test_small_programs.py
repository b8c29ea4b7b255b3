"""The other examples, in C, C++, Python, Rust and Node: each runs, and says what it is for."""
import os, re, shutil, subprocess, sys, tempfile, unittest
import adapters, sides

MODEL = sides.MODELS["llama"]
PROMPT = "Once upon a time"
EXAMPLES = os.path.join(sides.ROOT, "examples")
KOFFI = "koffi@2.9.0"


def story(side="ours"):
    return sides.program(side, "simple", MODEL, PROMPT, 20)


class Programs(unittest.TestCase):
    def test_embedding(self):
        """The same cosines on both sides, up to the noise of 8-bit inputs; a text is most like itself."""
        texts = ["the cat sat on a mat", "a cat was sitting there", "the king had much gold"]
        ours, original = ([[float(x) for x in re.findall(r"-?\d\.\d+", l)] for l in sides.program(s, "embedding", MODEL, *texts).splitlines()]
                          for s in ("ours", "original"))
        for i, (row, other) in enumerate(zip(ours, original)):
            self.assertEqual((len(row), row[i]), (len(texts), 1.0))
            for a, b in zip(row, other):
                self.assertAlmostEqual(a, b, delta=0.05)

    def test_state(self):
        """Exit status 0 says that the restored context went on as the first did."""
        with tempfile.TemporaryDirectory() as d:
            for side in ("ours", "original"):
                text = sides.program(side, "state", MODEL, os.path.join(d, side), PROMPT, 20)
                self.assertTrue(text.startswith(PROMPT) and len(text) > 60, text)

    def test_grammar(self):
        for side in ("ours", "original"):
            self.assertIn(sides.program(side, "grammar", MODEL, 'root ::= "Yes" | "No"', PROMPT), ("Yes\n", "No\n"))

    def test_lora(self):
        """Both sides part from the bare model where the adapter is added, and only there; nothing of it is left with a scale of 0."""
        base, told = adapters.Base(MODEL), {}
        with tempfile.TemporaryDirectory() as d:
            file = os.path.join(d, "adapter.gguf")
            adapters.random(file, base, base.matrices(r"attn_q|ffn_gate"), strength=2.0)
            for side in ("ours", "original"):
                for scale in (0, 1):
                    without, told[side, scale] = re.fullmatch(r"without:(.*)\nwith:(.*)\n", sides.program(side, "lora", MODEL, file, PROMPT, scale, 12), re.S).groups()
                    self.assertEqual(without == told[side, scale], scale == 0, told)
        for scale in (0, 1):
            self.assertEqual(told["ours", scale].split()[:6], told["original", scale].split()[:6])

    def test_quantize(self):
        with tempfile.TemporaryDirectory() as d:
            text = sides.program("ours", "quantize", MODEL, os.path.join(d, "q"), 12)
            self.assertRegex(text, r"q3_K +\d+ tensors")
            self.assertLess(os.path.getsize(os.path.join(d, "q")), os.path.getsize(MODEL))


class OtherLanguages(unittest.TestCase):
    def run_program(self, *command, **more):
        p = subprocess.run(command, env=sides.environment("ours", CAMELID_LOG="error"), capture_output=True, text=True, timeout=240, **more)
        self.assertEqual(p.returncode, 0, p.stderr[-2000:])
        return p.stdout

    def test_python(self):
        text = self.run_program(sys.executable, os.path.join(EXAMPLES, "python", "story.py"), MODEL, PROMPT, "20")
        self.assertEqual(text.strip(), story().strip())

    def test_rust(self):
        with tempfile.TemporaryDirectory() as d:
            program = os.path.join(d, "story")
            self.run_program("rustc", "--edition", "2024", "-D", "warnings", "-O", os.path.join(EXAMPLES, "rust", "story.rs"), "-o", program,
                             "-L", sides.OURS, "-l", "llama")
            self.assertEqual(self.run_program(program, MODEL, PROMPT, "20").strip(), PROMPT + story().strip())

    def test_node(self):
        if not shutil.which("node"):
            self.skipTest("there is no node")
        folder = os.path.join(sides.TOOLS, "node")
        if not os.path.isdir(os.path.join(folder, "node_modules", "koffi")):
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "package.json"), "w") as f:
                f.write("{}")
            subprocess.run(["npm", "install", "--silent", KOFFI], cwd=folder, check=True)
        shutil.copy(os.path.join(EXAMPLES, "node", "tokens.mjs"), folder)
        lines = self.run_program("node", "tokens.mjs", os.path.join(sides.OURS, "libllama.so"), MODEL, PROMPT, cwd=folder).splitlines()
        self.assertEqual("".join(l.split(" ", 1)[1].strip('"') for l in lines).replace("\u0120", " "), PROMPT)


if __name__ == "__main__":
    unittest.main()
