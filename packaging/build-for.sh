#!/bin/sh
# The libraries for systems with an older glibc than this one's: build-for.sh GLIBC TARGET_FOLDER TOOLS_FOLDER. Prints where they are.
#
# Rust's std itself asks for old versions only; what holds a library to a newer glibc is the one that it was linked with. zig, from PyPI,
# brings the lists of symbols of all of them.
set -eu

glibc=$1
target=$2
tools=$3
triple=$(uname -m)-unknown-linux-gnu

if [ ! -x "$tools/zig/bin/cargo-zigbuild" ]; then
    python3 -m venv "$tools/zig"
    "$tools/zig/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.0
fi
PATH=$tools/zig/bin:$PATH CARGO_TARGET_DIR=$target/glibc-$glibc cargo zigbuild --release --quiet --target "$triple.$glibc" --package camelid --package ggml --lib >&2
echo "$target/glibc-$glibc/$triple/release"
