"""The original's llama-server on both libraries: the same requests, the same answers."""
import contextlib, json, os, re, socket, subprocess, threading, time, urllib.error, urllib.request

from sides import GEMMA, MODEL, PROGRAMS, SCRATCH, Failed, Skipped, close, each, environment, folder, same_text, SIDES

PROMPT = "Once upon a time there was a little fox who"
MESSAGES = [{"role": "user", "content": "Tell me a story about a fox."}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}


class Server:
    def __init__(self, side, process, port, log):
        self.side, self.process, self.port, self.log = side, process, port, log

    def ask(self, path, body=None, lines=False):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=180) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as e:
            raise Failed(f"{self.side}: {path}: {e.code} {e.read().decode()[:200]}") from None
        except OSError as e:
            raise Failed(f"{self.side}: {path}: {e}; the log ends {self.tail()}") from None
        return [json.loads(l[6:]) for l in text.splitlines() if l.startswith("data: {")] if lines else json.loads(text)

    def tail(self):
        with open(self.log, errors="replace") as f:
            return " / ".join(l.strip() for l in f.readlines()[-4:])[-400:]


@contextlib.contextmanager
def server(side, *args):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with folder() as d:
        log = os.path.join(d, "log")
        with open(log, "wb") as out:
            command = [os.path.join(PROGRAMS, "llama-server"), "--host", "127.0.0.1", "--port", str(port), "-t", "1", "--slot-save-path", d, *map(str, args)]
            process = subprocess.Popen(command, env=environment(side), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            s = Server(side, process, port, log)
            for _ in range(300):
                if process.poll() is not None:
                    raise Failed(f"{side}: the server ended with {process.returncode}: {s.tail()}")
                with contextlib.suppress(Exception):
                    if s.ask("/health").get("status") == "ok":
                        break
                time.sleep(0.2)
            else:
                raise Failed(f"{side}: the server does not come up: {s.tail()}")
            yield s
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def on_both(work, *args):
    """`work(server)` on both sides: (ours, original)."""
    def one(side):
        with server(side, *args) as s:
            return work(s)
    return each([lambda s=s: one(s) for s in SIDES])


def compare(work, *args, least=8):
    """Answers by name, which must be equal."""
    ours, original = on_both(work, *args)
    for name in original:
        try:
            same_text(json.dumps(ours.get(name)), json.dumps(original[name]), least=1)
        except Failed as e:
            raise Failed(f"{name}: {e}") from None
    words = sum(len(json.dumps(v).split()) for v in original.values())
    if words < least:
        raise Failed(f"too little to compare: {original}")
    return f"{len(original)} answers, same"


GREEDY = {"temperature": 0, "seed": 1, "n_predict": 40}


def completions(s):
    a = s.ask("/completion", dict(GREEDY, prompt=PROMPT))
    raw = s.ask("/v1/completions", {"prompt": PROMPT, "max_tokens": 24, "temperature": 0})
    return {"completion": a["content"], "evaluated": a["tokens_evaluated"], "predicted": a["tokens_predicted"], "stop": a["stop_type"],
            "v1": raw["choices"][0]["text"], "usage": {k: raw["usage"][k] for k in ("prompt_tokens", "completion_tokens")},
            "tokens": s.ask("/tokenize", {"content": PROMPT, "add_special": True}), "text": s.ask("/detokenize", {"tokens": [259, 300, 301]}),
            "template": s.ask("/apply-template", {"messages": MESSAGES}),
            "props": {k: s.ask("/props")[k] for k in ("total_slots", "chat_template")}, "models": s.ask("/v1/models")["data"][0]["meta"]}


def probabilities(s):
    return s.ask("/completion", dict(GREEDY, prompt=PROMPT, n_predict=12, n_probs=3))["completion_probabilities"]


def chat(s):
    a = s.ask("/v1/chat/completions", {"messages": MESSAGES, "temperature": 0, "max_tokens": 40})
    b = s.ask("/v1/chat/completions", {"messages": MESSAGES + [a["choices"][0]["message"], {"role": "user", "content": "Another one."}],
                                       "temperature": 0, "max_tokens": 24})
    stop = s.ask("/v1/chat/completions", {"messages": MESSAGES, "temperature": 0, "max_tokens": 60, "stop": ["."]})
    return {"first": a["choices"][0], "second": b["choices"][0], "stop": stop["choices"][0]}


def streaming(s):
    a = s.ask("/completion", dict(GREEDY, prompt=PROMPT, stream=True), lines=True)
    b = s.ask("/v1/chat/completions", {"messages": MESSAGES, "temperature": 0, "max_tokens": 30, "stream": True}, lines=True)
    return {"pieces": [e["content"] for e in a], "deltas": [c["delta"] for e in b for c in e["choices"]]}


def constrained(s):
    ask = lambda **more: s.ask("/completion", dict(GREEDY, prompt=PROMPT, **more))["content"]
    made = s.ask("/v1/chat/completions", {"messages": MESSAGES, "temperature": 0, "max_tokens": 80,
                                          "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}})
    text = made["choices"][0]["message"]["content"]
    if made["choices"][0]["finish_reason"] == "stop" and set(json.loads(text)) != {"name", "age"}:
        raise Failed(f"{s.side}: not what the schema says: {text}")
    return {"gbnf": ask(grammar='root ::= " " ("red" | "blue" | "green") " fox."'), "schema": ask(json_schema=SCHEMA), "chat": text,
            "bias": ask(logit_bias=[[300, -100], [".", False]]), "dry": ask(dry_multiplier=0.8, repeat_penalty=1.1)}


def slots(s):
    """A slot's prompt is computed, saved, erased, restored, and then found in the cache."""
    first = s.ask("/completion", dict(GREEDY, prompt=PROMPT, id_slot=0, cache_prompt=True))
    saved = s.ask("/slots/0?action=save", {"filename": "slot.bin"})
    erased = s.ask("/slots/0?action=erase", {})
    restored = s.ask("/slots/0?action=restore", {"filename": "slot.bin"})
    again = s.ask("/completion", dict(GREEDY, prompt=PROMPT, id_slot=0, cache_prompt=True))
    if restored["n_restored"] != saved["n_saved"]:
        raise Failed(f"{s.side}: {saved['n_saved']} saved, {restored['n_restored']} restored")
    return {"first": first["content"], "again": again["content"], "saved": saved["n_saved"], "erased": erased["n_erased"],
            "restored": restored["n_restored"], "computed": again["timings"]["prompt_n"], "cached": again["timings"].get("cache_n")}


def reuse(s):
    """A prompt that shares a beginning, and one whose middle is moved into place (--cache-reuse)."""
    ask = lambda prompt: s.ask("/completion", dict(GREEDY, prompt=prompt, n_predict=16, cache_prompt=True, id_slot=0))
    said = {}
    for name, prompt in [("a", PROMPT + " lived in a big forest. One day the fox found a red ball."), ("b", PROMPT + " lived in a big forest. One day it rained."),
                         ("c", PROMPT + " found a red ball. One day the fox found a red ball.")]:
        r = ask(prompt)
        said[name] = {"text": r["content"], "computed": r["timings"]["prompt_n"], "cached": r["timings"].get("cache_n")}
    return said


def parallel(s):
    """Eight requests over four slots at once."""
    said, prompts = {}, [f"{start} {who} who" for start in ("Once there was", "One day") for who in ("a cat", "a dog", "a girl", "a tree")]
    def one(p):
        try:
            said[p] = s.ask("/completion", dict(GREEDY, prompt=p, n_predict=24))["content"]
        except Failed as e:
            said[p] = str(e)
    threads = [threading.Thread(target=one, args=(p,)) for p in prompts]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return {p: said[p] for p in prompts}


def metrics(s):
    s.ask("/completion", dict(GREEDY, prompt=PROMPT, n_predict=8))
    with urllib.request.urlopen(f"http://127.0.0.1:{s.port}/metrics", timeout=60) as a:
        found = dict(re.findall(r"^llamacpp:(\S+) (\S+)$", a.read().decode(), re.M))
    return {k: found[k] for k in ("prompt_tokens_total", "tokens_predicted_total", "requests_processing") if k in found}


def embeddings():
    import numpy as np
    texts = [PROMPT, "The dog ran to the park.", "She ate a cake."]
    work = lambda s: [r["embedding"] for r in s.ask("/v1/embeddings", {"input": texts})["data"]]
    ours, original = (np.array(v) for v in on_both(work, "-m", MODEL, "--embeddings", "--pooling", "mean", "-c", 512))
    cosine = float(((ours * original).sum(1) / np.sqrt((ours ** 2).sum(1) * (original ** 2).sum(1))).min())
    if ours.shape != original.shape or cosine < 0.999:
        raise Failed(f"cosine {cosine}")
    return f"{len(texts)} texts, cosine to the original's at least {cosine:.6f}"


def ranker():
    """An encoder with a classifier, from the conformance set's generator; its texts mean nothing, its numbers do."""
    import reranker
    model = reranker.make()
    def work(s):
        rows = s.ask("/v1/rerank", {"query": "a fox in the wood", "documents": ["the dog ran", "a fox", "wood and stones", "she ate a cake"]})["results"]
        return [[r["index"], r["relevance_score"]] for r in sorted(rows, key=lambda r: r["index"])]
    ours, original = on_both(work, "-m", model, "--reranking", "-c", 256)
    scale = max(abs(v) for _, v in original) - min(abs(v) for _, v in original) or 1.0
    worst = max(abs(a[1] - b[1]) for a, b in zip(ours, original))
    if len(ours) != 4 or worst > 0.01 * max(scale, abs(original[0][1])):
        raise Failed(f"scores {ours}, original {original}")
    return f"4 documents, scores within {worst:.2g}"


TWO = ("-m", MODEL, "-c", 1024, "-np", 2, "--no-kv-unified", "--metrics")

ALL = {
    "llama-server: completion": lambda: compare(completions, *TWO),
    "llama-server: probabilities": lambda: probabilities_close(),
    "llama-server: chat": lambda: compare(chat, *TWO),
    "llama-server: chat, gemma3": lambda: compare(chat, "-m", GEMMA, "-c", 1024, "-np", 2),
    "llama-server: streaming": lambda: compare(streaming, *TWO),
    "llama-server: grammar, JSON schema": lambda: compare(constrained, *TWO),
    "llama-server: slots saved and restored": lambda: compare(slots, *TWO),
    "llama-server: slots, gemma3": lambda: compare(slots, "-m", GEMMA, "-c", 1024, "-np", 2, "--swa-full"),
    "llama-server: cache reuse": lambda: compare(reuse, *TWO, "--cache-reuse", 4),
    "llama-server: parallel slots": lambda: compare(parallel, "-m", MODEL, "-c", 2048, "-np", 4, "-cb"),
    "llama-server: metrics": lambda: compare(metrics, *TWO, least=3),
    "llama-server: embeddings": embeddings,
    "llama-server: rerank": ranker,
}


def probabilities_close():
    ours, original = on_both(probabilities, *TWO)
    if [t["id"] for t in ours] != [t["id"] for t in original]:
        raise Failed("other tokens")
    logprobs = [[x["logprob"] for t in side for x in t["top_logprobs"]] for side in (ours, original)]
    worst = max(abs(a - b) for a, b in zip(*logprobs))
    if worst > 0.1:
        raise Failed(f"log probabilities off by {worst}")
    return f"same {len(ours)} tokens, log probabilities within {worst:.2g}"
