#!/bin/sh
# Builds the original's own programs, examples and tests once, in the ignored folder build/tools/programs, and fetches what the bindings need:
#
#   bin/       the programs, linked to the original's libllama.so.0, and its libggml*.so
#   node/      node-llama-cpp
#   source/    what the programs read at run time: vocabularies and the expected tokens of the original's tests, grammars
#
# The source is the one that PyPI's llama-cpp-python carries, so the library compared with is the version these bindings are for.
# Half an hour on two cores; quick when all is there. Fails loudly when a registry cannot be reached.
set -eu

BINDINGS=llama-cpp-python==0.3.36
# What the registry gave when these tests were written; another file is another reference.
SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
RECIPE="1 $BINDINGS" # change the number when the steps below change

PROGRAMS="llama-bench llama-batched-bench llama-completion llama-cli llama-perplexity llama-tokenize llama-quantize llama-imatrix
    llama-gguf-split llama-server llama-fit-params llama-cvector-generator llama-export-lora llama-mtmd-cli"
EXAMPLES="llama-simple llama-simple-chat llama-batched llama-embedding llama-parallel llama-lookahead llama-lookup llama-passkey
    llama-speculative llama-speculative-simple llama-eval-callback llama-retrieval llama-gguf
    llama-lookup-create llama-lookup-merge llama-lookup-stats llama-debug"
# Those that need nothing but the exported names; test-llama-archs makes the models of the last two.
TESTS="test-c test-tokenizer-0 test-tokenizer-1-bpe test-tokenizer-1-spm test-thread-safety test-state-restore-fragmented
    test-model-load-cancel test-autorelease test-backend-sampler test-sampling test-chat-template test-arg-parser test-llama-archs
    test-save-load-state test-recurrent-state-rollback test-reasoning-budget test-mtmd-c-api test-log"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/build/tools
programs=$tools/programs

sh "$root/tests/tools/setup.sh"
mkdir -p "$programs"

# To build with; for the bindings' own tests and server; libclang for llama-cpp-2's bindings.
if ! "$tools/venv/bin/python" -c 'import clang, cmake, fastapi, httpx, huggingface_hub, ninja, pydantic_settings, pytest, scipy, sse_starlette, starlette_context, uvicorn, yaml' 2>/dev/null; then
    "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check cmake ninja libclang pytest httpx scipy huggingface-hub \
        uvicorn fastapi pydantic-settings sse-starlette 'starlette-context<0.4' PyYAML
fi
if [ ! -d "$programs/node/node_modules/node-llama-cpp" ]; then
    mkdir -p "$programs/node"
    echo '{"type": "module"}' > "$programs/node/package.json"
    (cd "$programs/node" && npm install --silent --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1)
fi

all_there() {
    [ "$(cat "$programs/recipe" 2>/dev/null)" = "$RECIPE" ] || return 1
    for name in $PROGRAMS $EXAMPLES $TESTS; do
        [ -x "$programs/bin/$name" ] || return 1
    done
}
if all_there; then
    exit 0
fi
echo "building the original's programs in $programs: $BINDINGS"

file=llama_cpp_python-0.3.36.tar.gz
if ! (cd "$programs" && echo "$SHA256  $file" | sha256sum --check --quiet 2>/dev/null); then
    "$tools/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-binary :all: -d "$programs" "$BINDINGS"
    (cd "$programs" && echo "$SHA256  $file" | sha256sum --check --quiet)
fi
if [ ! -d "$programs/source" ]; then
    rm -rf "$programs/unpacked"
    mkdir "$programs/unpacked"
    tar xzf "$programs/$file" -C "$programs/unpacked"
    mv "$programs"/unpacked/*/vendor/llama.cpp "$programs/source"
    mv "$programs"/unpacked/*/tests "$programs/python-tests"
    rm -rf "$programs/unpacked"
fi

# ggml is compiled for speed; for the rest the compiler's time counts more than the program's.
echo 'set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")' > "$programs/ggml.cmake"
PATH=$tools/venv/bin:$PATH
export PATH
# AVX2 for everybody, so that one machine's reference is another's.
cmake -G Ninja -S "$programs/source" -B "$programs/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_PROJECT_ggml_INCLUDE="$programs/ggml.cmake" \
    -DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_CXX_VISIBILITY_PRESET=default \
    -DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF \
    -DLLAMA_BUILD_NUMBER=0 -DLLAMA_BUILD_COMMIT=pypi -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_APP=OFF \
    -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_EXAMPLES=ON -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TESTS=ON > "$programs/cmake.log"
for targets in "$PROGRAMS" "$EXAMPLES" "$TESTS"; do
    ninja -C "$programs/build" -j "${JOBS:-2}" -k 0 $targets
done

rm -rf "$programs/bin"
mv "$programs/build/bin" "$programs/bin"
rm -rf "$programs/build"
echo "$RECIPE" > "$programs/recipe"
