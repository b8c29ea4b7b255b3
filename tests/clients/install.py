"""An installed tree under official build files: CMake's find_package(Llama), and the original's sources on our headers.

    python install.py       run by the other checks here as well (ALL)

Needs the original's source and cmake from setup.sh; libraries are those of CAMELID_TEST_LIB (default build/).
"""
import os, shutil, subprocess, sys
from sides import LIBRARY, MODEL, ROOT, SCRATCH, SOURCE, TOOLS, Failed

TREE = os.path.join(SCRATCH, "installed")
# Compiled on our headers alone, warnings and all; common/ is what the tools share.
SOURCES = ["examples/simple/simple.cpp", "examples/simple-chat/simple-chat.cpp", "examples/batched/batched.cpp", "examples/embedding/embedding.cpp",
           "examples/gguf/gguf.cpp", "tools/llama-bench/llama-bench.cpp", "common/common.cpp", "common/sampling.cpp", "common/arg.cpp",
           "common/speculative.cpp", "tools/mtmd/clip.cpp"]


def call(*command, **more):
    p = subprocess.run(command, capture_output=True, text=True, timeout=600, **more)
    if p.returncode != 0:
        raise Failed(f"{os.path.basename(command[0])}: {(p.stdout + p.stderr)[-400:]}")
    return p.stdout + p.stderr


def installed():
    folder = os.path.join(SCRATCH, "libraries")
    os.makedirs(folder, exist_ok=True)
    for name in ("libllama.so", "libggml.so"):
        shutil.copyfile(os.path.realpath(os.path.join(LIBRARY, name)), os.path.join(folder, name))
    shutil.rmtree(TREE, ignore_errors=True)
    call("sh", os.path.join(ROOT, "packaging", "install.sh"), folder, TREE)
    return TREE


def cmake_package():
    tree, build = installed(), os.path.join(SCRATCH, "cmake")
    env = dict(os.environ, PATH=os.path.join(TOOLS, "venv", "bin") + ":" + os.environ["PATH"], CAMELID_LOG="error")
    shutil.rmtree(build, ignore_errors=True)
    call("cmake", "-G", "Ninja", "-S", os.path.join(SOURCE, "examples", "simple-cmake-pkg"), "-B", build, f"-DCMAKE_PREFIX_PATH={tree}", env=env)
    call("cmake", "--build", build, env=env)
    text = call(os.path.join(build, "llama-simple-cmake-pkg"), "-m", MODEL, "-n", "20", "Once upon a time", env=env)
    if "Once upon a time, there was" not in text:
        raise Failed(text[-200:])
    return "examples/simple-cmake-pkg builds by find_package(Llama) and runs"


def sources():
    include = [os.path.join(installed(), "include"), *(os.path.join(SOURCE, d) for d in ("common", "vendor", "."))]
    for name in SOURCES:
        text = call("c++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", *(f"-I{d}" for d in include), os.path.join(SOURCE, name))
        if text.strip():
            raise Failed(f"{name}: {text[:300]}")
    return f"{len(SOURCES)} files compile on our headers without a warning"


ALL = {"CMake package": cmake_package, "official sources on our headers": sources}

if __name__ == "__main__":
    for name, check in ALL.items():
        print(f"{name}: {check()}", flush=True)
