#!/bin/sh
# Makes what the comparing tests need, in the ignored folder build/tools: nothing of it is part of the library.
#
#   venv/      a Python environment with numpy and the unmodified bindings llama-cpp-python (pure Python: it builds no library)
#   original/  the original's libllama.so with its CPU back ends, from the npm package of node-llama-cpp, and compiled around it a
#              libllama.so.0 that loads those back ends by itself, so that programs and bindings written for any libllama run on it
#
# Quick when all is there. Fails loudly when a registry cannot be reached: no test may pass because its other side is missing.
set -eu

BINDINGS=llama-cpp-python==0.3.36
PACKAGE=@node-llama-cpp/linux-x64@3.22.1
# What the registry gave when these tests were written; another file is another reference.
SHA256=0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0
RECIPE="1 $BINDINGS $PACKAGE" # change the number when the steps below change

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${1:-$root/build/tools}

if [ "$(cat "$tools/recipe" 2>/dev/null)" = "$RECIPE" ]; then
    exit 0
fi
echo "setting up $tools: $BINDINGS, $PACKAGE"
rm -rf "$tools"
mkdir -p "$tools/original" "$tools/package"

python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check numpy gguf typing_extensions diskcache jinja2
# Without LLAMA_BUILD=OFF the package would compile a library of its own.
CMAKE_ARGS=-DLLAMA_BUILD=OFF "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$BINDINGS"

cd "$tools/package"
npm pack --silent "$PACKAGE" > name
file=$(cat name)
echo "$SHA256  $file" | sha256sum --check --quiet
tar xzf "$file"
mv package/bins/linux-x64/libllama.v*.so package/bins/linux-x64/libggml*.so "$tools/original"
cp package/LICENSE "$tools/original" 2>/dev/null || true
cd "$root"
rm -rf "$tools/package"

# The soname is the one programs are linked with; its symbols come from the library it needs.
cc -shared -fPIC -O1 -std=gnu11 -Wall -Werror -I"$root/include" "$here/original.c" -o "$tools/original/libllama.so.0" -Wl,-soname,libllama.so.0 \
    -Wl,--no-as-needed -Wl,-rpath,'$ORIGIN' -L"$tools/original" -l:libllama.v0.5.0.so -l:libggml.v0.5.0.so -ldl -Wl,-rpath-link,"$tools/original"
ln -s libllama.so.0 "$tools/original/libllama.so"

echo "$RECIPE" > "$tools/recipe"
