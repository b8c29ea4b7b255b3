#!/bin/sh
# The libraries for systems with an older glibc than this one's: build-for.sh GLIBC TARGET_FOLDER. Prints where they are, or fails where a library
# would ask for a newer one.
#
# Rust's std asks for old versions only; what holds a library to a newer glibc is the one that it is linked with. A glibc carries all versions of its
# symbols that older programs ask for. From them stubs are made, with names and versions and nothing else: of each symbol the newest version that GLIBC
# has, in the library where it lay then. What GLIBC's programs had in themselves is compiled (compat.c).
set -eu

glibc=$1
target=$2
here=$(cd "$(dirname "$0")" && pwd)
triple=$(uname -m)-unknown-linux-gnu
stubs=$target/glibc-$glibc/stubs

# Lines "LIBRARY VERSION NAME" of what a library had in GLIBC. 2.34 moved threads and dlopen into libc.so.6.
symbols() { # LIBRARY
    LC_ALL=C readelf --wide --dyn-syms "$(cc -print-file-name="$1")" | awk -v library="$1" -v most="$glibc" '
        function number(version, part) { split(version, part, "."); return part[1] * 1000000 + part[2] * 1000 + part[3] }
        function home(name) {
            if (library != "libc.so.6" || newest[name] <= number(most)) return library
            if (name ~ /^(pthread|sem|thrd|mtx|cnd|tss)_|^call_once$/) return "libpthread.so.0"
            if (name ~ /^dl(addr1?|close|error|info|m?open|v?sym)$/) return "libdl.so.2"
            if (name ~ /^(timer|mq|aio|lio|shm)_/) return "librt.so.1"
            return library
        }
        $7 != "UND" && $4 != "TLS" && $8 ~ /@GLIBC_[0-9]/ {
            split($8, part, /@+GLIBC_/)
            name = part[1]; version = part[2]; n = number(version)
            if (n > newest[name]) newest[name] = n
            if (n <= number(most) && n > best[name]) { best[name] = n; chosen[name] = version }
        }
        END { for (name in chosen) print home(name), chosen[name], name }'
}

stub() { # LIBRARY, from lines of symbols()
    awk -v library="$1" '$1 == library { print ".globl " $3 "\n.type " $3 ", @function\n" $3 ":" }' "$stubs/symbols" > "$stubs/$1.s"
    awk -v library="$1" '$1 == library { nodes[$2] = nodes[$2] " " $3 ";" }
        END { for (v in nodes) print "GLIBC_" v " {" nodes[v] " };"; print "GLIBC_PRIVATE { local: *; };" }' "$stubs/symbols" > "$stubs/$1.map"
    cc -shared -nostdlib -Wl,-soname,"$1" -Wl,--version-script="$stubs/$1.map" -o "$stubs/$1" "$stubs/$1.s"
    ln -sf "$1" "$stubs/${1%.so.*}.so"
}

rm -rf "$stubs"
mkdir -p "$stubs"
for library in libc.so.6 libm.so.6; do
    symbols "$library"
done > "$stubs/symbols"
for library in libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1; do
    stub "$library"
done
cc -c -O2 -fPIC -fvisibility=hidden -Wall -Werror "$here/compat.c" -o "$stubs/compat.o"
ar rcs "$stubs/libcompat.a" "$stubs/compat.o"
# As the real libc.so is: a list of what -lc stands for. The loader's own names have been the same for long.
loader=$(grep -o '/[^ ]*ld-linux[^ ]*' "$(cc -print-file-name=libc.so)")
rm "$stubs/libc.so"
echo "GROUP ( $stubs/libc.so.6 $stubs/libcompat.a AS_NEEDED ( $loader ) )" > "$stubs/libc.so"

RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-L$stubs -C link-arg=-Wl,-z,defs" CARGO_TARGET_DIR=$target/glibc-$glibc \
    "${CARGO:-cargo}" build --release --quiet --target "$triple" --package camelid --package ggml --lib >&2
for library in libllama libggml; do
    newest=$(objdump -T "$target/glibc-$glibc/$triple/release/$library.so" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -1)
    if [ "$(printf '%s\n' "$newest" "$glibc" | sort -V | tail -1)" != "$glibc" ]; then
        echo "build-for: $library.so asks for glibc $newest" >&2
        exit 1
    fi
done
echo "$target/glibc-$glibc/$triple/release"
