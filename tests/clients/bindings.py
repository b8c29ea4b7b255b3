"""Other people's bindings on our library: llama-cpp-python, node-llama-cpp, llama-cpp-2."""
import glob, json, os, re, shutil, subprocess, sys

import numpy as np
import programs, server, sides
from sides import HERE, MODEL, SCRATCH, SIDES, TOOLS, Failed, environment, folder, library, same_text

PROMPT = "Once upon a time there was a little fox who"
PYTHON = os.path.join(TOOLS, "venv", "bin", "python")
NODE = os.path.join(TOOLS, "programs", "node")


def call(side, command, cwd=SCRATCH, timeout=600, **env):
    p = subprocess.run(list(map(str, command)), cwd=cwd, env=environment(side, LLAMA_CPP_LIB_PATH=library(side), **env), stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    out, err = (t.decode("utf-8", "replace") for t in (p.stdout, p.stderr))
    if p.returncode != 0:
        raise Failed(f"{side}: exit status {p.returncode}: {' / '.join((out + err).splitlines()[-4:])[-500:]}")
    return out


def python_tests():
    """Those that need no download; the vocabulary they look for lies where the sdist has it."""
    with folder() as d:
        shutil.copytree(os.path.join(TOOLS, "programs", "python-tests"), os.path.join(d, "tests"))
        os.makedirs(os.path.join(d, "vendor"))
        os.symlink(os.path.join(TOOLS, "programs", "source"), os.path.join(d, "vendor", "llama.cpp"))
        out = call("ours", [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", "not real and not recurrent and not hybrid and not prompt"], cwd=d)
    return re.findall(r"\d+ passed.*", out)[-1].strip("= ")


def python_server():
    """The OpenAI-compatible server of the bindings, as a process beside which the same questions are asked."""
    def work(s):
        ask = {"temperature": 0, "max_tokens": 32, "seed": 1}
        chat = {"messages": server.MESSAGES, **ask}
        return {"models": [m["object"] for m in s.ask("/v1/models")["data"]],
                "completion": {"text": s.ask("/v1/completions", dict(ask, prompt=PROMPT))["choices"][0]["text"], "after": PROMPT},
                "chat": s.ask("/v1/chat/completions", chat)["choices"][0]["message"],
                "stream": [c["choices"][0]["delta"] for c in s.ask("/v1/chat/completions", dict(chat, stream=True), lines=True)],
                "json": s.ask("/v1/chat/completions", dict(chat, response_format={"type": "json_object", "schema": server.SCHEMA}))["choices"][0]["message"],
                "tokens": s.ask("/extras/tokenize", {"input": PROMPT})}
    command = [PYTHON, "-m", "llama_cpp.server", "--model", MODEL, "--n_ctx", 512, "--n_threads", 1, "--n_threads_batch", 1]
    return server.compare(work, command=command, health="/v1/models")


def node():
    """Its addon finds libllama beside itself, under a name with the version: there ours is put."""
    found = {}
    for side in SIDES:
        place = os.path.join(SCRATCH, f"node-{side}")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(NODE, place, copy_function=os.link, symlinks=True)
        if side == "ours":
            beside = os.path.join(place, "node_modules", "@node-llama-cpp", "linux-x64", "bins", "linux-x64")
            names = {"libllama.v0.5.0.so": "libllama.so.0"}
            if sides.alone:
                names |= {"libggml.v0.5.0.so": "libggml.so.0", "libggml-base.so": "libggml.so.0"}
            for theirs, ours in names.items():
                os.remove(os.path.join(beside, theirs))
                os.symlink(os.path.realpath(os.path.join(library(side), ours)), os.path.join(beside, theirs))
        shutil.copy(os.path.join(HERE, "node.mjs"), place)
        # Neither side's library by LD_LIBRARY_PATH: the addon brings its own.
        env = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
        p = subprocess.run(["node", "node.mjs", MODEL], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        said = (p.stdout + p.stderr).decode("utf-8", "replace")
        line = next((l for l in said.splitlines() if l.startswith("FOUND ")), None)
        if p.returncode != 0 or not line:
            raise Failed(f"{side}: exit status {p.returncode}: {' / '.join(said.splitlines()[-4:])[-500:]}")
        found[side] = json.loads(line[6:])
        shutil.rmtree(place, ignore_errors=True)
    ours, original = found["ours"], found["original"]
    a, b = (np.array(f.pop("embedding")) for f in (ours, original))
    cosine = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    different = [k for k in original if ours.get(k) != original[k]]
    if different or cosine < 0.999:
        raise Failed("; ".join(f"{k}: ours {ours.get(k)!r}, original {original[k]!r}" for k in different) or f"cosine {cosine}")
    return f"completion, chat, grammar, JSON schema, tokens and sizes the same ({len(original)} answers), embedding's cosine {cosine:.6f}"


def rust():
    """Compiled once with the original that the crate brings (llama.cpp 0.6.0-dev, the same llama.h) as a shared library, for AVX2 as the programs are; it
    looks for libllama.so.0, and finds ours first on our side."""
    target, venv = os.path.join(SCRATCH, "rust"), os.path.dirname(os.path.dirname(sys.executable))
    clang = os.path.join(venv, "lib", f"python3.{sys.version_info.minor}", "site-packages", "clang", "native")
    include = subprocess.run(["cc", "-print-file-name=include"], capture_output=True, text=True).stdout.strip()
    env = dict(os.environ, PATH=os.path.join(venv, "bin") + os.pathsep + os.environ["PATH"], LIBCLANG_PATH=clang, BINDGEN_EXTRA_CLANG_ARGS=f"-I{include}",
               LLAMA_LIB_PROFILE="Release", CMAKE_GENERATOR="Ninja", CMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG", CARGO_TARGET_DIR=target,
               CMAKE_BUILD_PARALLEL_LEVEL=os.environ.get("JOBS", "2"), RUSTFLAGS="-C target-feature=+avx2,+fma,+f16c,+bmi2,+sse4.2")
    # What its build script left there before would be in its own way.
    for left in glob.glob(os.path.join(target, "debug", "**", "lib*.so"), recursive=True):
        if os.path.islink(left) and "/out/" not in left:
            os.remove(left)
    p = subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=os.path.join(HERE, "rust"), env=env, capture_output=True, text=True)
    if p.returncode != 0:
        raise Failed(f"the crate does not compile: {' / '.join(p.stderr.splitlines()[-4:])[-400:]}")
    theirs = [os.path.dirname(f) for f in glob.glob(os.path.join(target, "debug", "build", "llama-cpp-sys-2-*", "out", "lib", "libllama.so.0"))]
    with folder() as d:
        adapter = programs.lora(os.path.join(d, "adapter.gguf"), 1)
        found = {}
        for side in SIDES:
            first = [library(side)] if side == "ours" else []
            p = subprocess.run([os.path.join(target, "debug", "client"), MODEL, adapter, PROMPT, "40"], capture_output=True, text=True, timeout=300,
                               env=dict(os.environ, LD_LIBRARY_PATH=os.pathsep.join(first + theirs)))
            if p.returncode != 0:
                raise Failed(f"{side}: exit status {p.returncode}: {p.stderr[-300:]}")
            found[side] = dict(line.split("\t", 1) for line in p.stdout.splitlines())
    ours, original = found["ours"], found["original"]
    a, b = (np.array(json.loads(f.pop("embedding"))) for f in (ours, original))
    cosine = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
    text = same_text(json.loads(ours.pop("text")), json.loads(original.pop("text")), least=20, before=PROMPT)
    different = [k for k in original if ours.get(k) != original[k]]
    if different or cosine < 0.999:
        raise Failed("; ".join(f"{k}: ours {ours.get(k)}, original {original[k]}" for k in different) or f"cosine {cosine}")
    return f"{text}; {', '.join(original)}: the same; embedding's cosine {cosine:.6f}"


ALL = {
    "llama-cpp-python 0.3.36: its own tests": python_tests,
    "llama-cpp-python 0.3.36: OpenAI-compatible server": python_server,
    "node-llama-cpp 3.22.1": node,
    "llama-cpp-2 0.1.160 (Rust)": rust,
}
