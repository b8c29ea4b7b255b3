#!/bin/sh
# Makes a folder with a libcuda.so.1 that interprets PTX on the CPU, and prints its path: mock.sh FOLDER CARGO
set -eu
$2 build --quiet --package ptx >&2
mkdir -p "$1"
dir=$(cd "$1" && pwd)
lib=$($2 metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/libmockcuda.so
ln -sf "$lib" "$dir/libcuda.so.1"
echo "$dir"
