#!/bin/sh
# What people download: dist.sh FOLDER_OF_LIBRARIES FOLDER_FOR_IT.
#
#   camelid-VERSION-x86_64-linux.tar.gz (and .sha256): an installed tree
#   lib/: the same libraries for wheels and zips, which know no links: plain files, libggml-base and libggml-cpu as empty libraries that load libggml
#
# Says which glibc the libraries ask for.
set -eu

from=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -1)
name=camelid-$version-$(uname -m)-linux

rm -rf "$out/$name" "$out/lib"
mkdir -p "$out/$name" "$out/lib"

# Debug lines are half of the file, and of no use to those who have no source.
strip --strip-debug -o "$out/lib/libllama.so" "$from/libllama.so"
strip --strip-debug -o "$out/lib/libggml.so" "$from/libggml.so"
sh "$here/install.sh" "$out/lib" / "$out/$name"
sed -i 's|^prefix=.*|prefix=${pcfiledir}/../..|' "$out/$name/lib/pkgconfig/llama.pc"
cp "$here/../LICENSE" "$out/$name"

glibc() { # the newest version of glibc that libraries ask for
    objdump -T "$@" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -1
}
sed -e "s|@NAME@|$name|g" -e "s|@GLIBC@|$(glibc "$out/lib/libllama.so" "$out/lib/libggml.so")|" "$here/README.dist" > "$out/$name/README"

tar --sort=name --owner=0 --group=0 --numeric-owner -C "$out" -czf "$out/$name.tar.gz" "$name"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")

mv "$out/lib/libllama.so" "$out/lib/libllama.so.0"
mv "$out/lib/libggml.so" "$out/lib/libggml.so.0"
stub() { # NAME SONAME LIBRARY: an empty library that loads another
    cc -shared -nostdlib -Wl,-soname,"$2" -Wl,--no-as-needed -Wl,-rpath,'$ORIGIN' -o "$out/lib/$1" "$out/lib/$3"
}
for n in ggml-base ggml-cpu; do
    stub "lib$n.so.0" "lib$n.so.0" libggml.so.0
    stub "lib$n.so" "lib$n.so" libggml.so.0
done
stub libggml.so libggml.so libggml.so.0
stub libllama.so libllama.so libllama.so.0

for l in libllama libggml; do
    echo "$l.so.0 asks for glibc $(glibc "$out/lib/$l.so.0")"
done
ls -l "$out/$name.tar.gz" "$out/lib"
