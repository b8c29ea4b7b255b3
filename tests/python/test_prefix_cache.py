"""The prefix cache under programs that know nothing of it (llama-cpp-python, unmodified) and under one that does (c_examples/prefix_cache.c).

Every run is a process of its own. What a run with the cache says must be what one without says, to the last bit of every logit; what it
computes must be less.
"""
import hashlib, os, subprocess, tempfile, unittest
import sides

STORY = " ".join(sides.heldout()[0].split()[:120])
SYSTEM = {"role": "system", "content": "You tell stories. This is one that everybody liked: " + STORY}
CHATS = [[SYSTEM, {"role": "user", "content": a}] for a in ("Tell me a story about a fox.", "Tell me a story about a king in the snow.")]
CHATS.append(CHATS[0] + [{"role": "assistant", "content": "Once there was a fox."}, {"role": "user", "content": "And then?"}])


def work(job):
    """Texts, a digest of all logits that were sampled from, and how many tokens were computed, per chat."""
    import llama_cpp
    import numpy as np
    m = llama_cpp.Llama(job["model"], n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False, no_perf=False, **job["more"])
    bits = hashlib.sha256()

    def look(ids, scores):
        bits.update(np.asarray(scores, np.float32).tobytes())
        return scores

    out = []
    for chat in CHATS:
        answer = m.create_chat_completion(chat, temperature=0, max_tokens=30, logits_processor=llama_cpp.LogitsProcessorList([look]))
        perf = llama_cpp.llama_perf_context(m.ctx)
        out.append({"text": answer["choices"][0]["message"]["content"], "bits": bits.hexdigest(), "usage": answer["usage"],
                    "computed": perf.n_p_eval + perf.n_eval})
    return out


class PrefixCache(unittest.TestCase):
    def test_client(self):
        ways = [{}, {"n_batch": 100}, {"n_ubatch": 33, "flash_attn": True}, {"swa_full": False}]
        for name, model in sides.MODELS.items():
            for more in ways:
                with self.subTest(model=name, more=more), tempfile.TemporaryDirectory() as d:
                    job = {"model": model, "more": more}
                    run = lambda **env: sides.run("ours", "test_prefix_cache:work", job, **env)
                    plain = run()
                    first, second = (run(CAMELID_PREFIX_CACHE=os.path.join(d, "cache") + ":1G") for _ in range(2))
                    for other in (first, second):
                        for key in ("text", "bits", "usage"):
                            self.assertEqual([o[key] for o in other], [o[key] for o in plain], key)
                    computed = [sum(o["computed"] for o in r[-1:]) for r in (plain, first, second)]
                    print(f"  {name} {more}: {computed} tokens computed without, first, second")
                    self.assertLessEqual(computed[1], computed[0])
                    # The first chat's prompt is not computed again; with a small ring only where it comes in one batch.
                    prompt = plain[0]["usage"]["prompt_tokens"]
                    self.assertGreater(prompt, 100)
                    self.assertLess(computed[2], computed[1] - prompt // 2)

    def test_off_is_off(self):
        with tempfile.TemporaryDirectory() as d:
            sides.run("ours", "test_prefix_cache:work", {"model": sides.MODELS["llama"], "more": {}}, CAMELID_PREFIX_CACHE="")
            self.assertEqual(os.listdir(d), [])

    def test_a_folder_that_cannot_be_is_a_line(self):
        job = {"model": sides.MODELS["llama"], "more": {}}
        plain = sides.run("ours", "test_prefix_cache:work", job)
        self.assertEqual(sides.run("ours", "test_prefix_cache:work", job, CAMELID_PREFIX_CACHE="/dev/null/cache"), plain)

    def test_example(self):
        for name, model in sides.MODELS.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as d:
                def run(prompt):
                    p = subprocess.run([os.path.join(sides.ROOT, "build", "prefix_cache"), model, os.path.join(d, "cache"), prompt, "40"],
                                       env=sides.environment("ours", CAMELID_LOG="warn"), capture_output=True, timeout=120)
                    self.assertEqual(p.returncode, 0, p.stderr)
                    tokens, logits = p.stderr.decode().splitlines()
                    n = [int(w) for w in tokens.replace(",", "").split() if w.isdigit()]
                    return p.stdout, logits, *n
                text, logits, restored, n, computed = run(STORY)
                self.assertEqual((restored, computed), (0, n))
                self.assertGreater(n, 100)
                self.assertEqual(run(STORY), (text, logits, n - 1, n, 1))
                other = run(STORY + " The end. Then")
                self.assertGreater(other[2], n - 5)
                self.assertNotEqual(other[1], logits)


if __name__ == "__main__":
    unittest.main()
