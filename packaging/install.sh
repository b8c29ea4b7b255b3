#!/bin/sh
# Puts the library, headers and what finds them under a prefix: install.sh FOLDER_OF_LIBRARIES PREFIX [DESTDIR].
#
# A libggml of somebody else that is there already stays: programs that were built for it need all of it, and ours is a part.
set -eu

from=$1
prefix=$2
root=${3:-}$2
here=$(cd "$(dirname "$0")" && pwd)

LLAMA=0.5.0
GGML=0.25.1
# Programs name ggml by any of these; they are one library.
NAMES="ggml ggml-base ggml-cpu"

install -d "$root/lib/pkgconfig" "$root/lib/cmake/llama" "$root/include"

library() { # NAME VERSION
    install -m 755 "$from/lib$1.so" "$root/lib/lib$1.so.$2"
    ln -sf "lib$1.so.$2" "$root/lib/lib$1.so.0"
    ln -sf "lib$1.so.0" "$root/lib/lib$1.so"
}

foreign_ggml() {
    for name in $NAMES; do
        for file in "$root/lib/lib$name.so"*; do
            [ -e "$file" ] || continue
            [ "$(basename "$(readlink -f "$file")")" = "libggml.so.$GGML" ] || return 0
        done
    done
    return 1
}

# `@VERSION@` and `@PREFIX@` filled in.
fill() { # TEMPLATE VERSION TARGET
    sed -e "s|@VERSION@|$2|" -e "s|@PREFIX@|$prefix|" "$here/$1" > "$3"
    chmod 644 "$3"
}

library llama $LLAMA
fill llama.pc $LLAMA "$root/lib/pkgconfig/llama.pc"
fill cmake/config-version.cmake $LLAMA "$root/lib/cmake/llama/llama-config-version.cmake"
install -m 644 "$here/cmake/llama-config.cmake" "$root/lib/cmake/llama"

headers="camelid.h llama.h llama-cpp.h"
if foreign_ggml; then
    echo "install: there is a libggml in $root/lib: it stays, with its headers"
else
    install -d "$root/lib/cmake/ggml"
    library ggml $GGML
    for name in $NAMES; do
        [ "$name" = ggml ] && continue
        ln -sf "libggml.so.$GGML" "$root/lib/lib$name.so.0"
        ln -sf "lib$name.so.0" "$root/lib/lib$name.so"
    done
    fill cmake/config-version.cmake $GGML "$root/lib/cmake/ggml/ggml-config-version.cmake"
    install -m 644 "$here/cmake/ggml-config.cmake" "$root/lib/cmake/ggml"
    headers="$headers ggml.h ggml-alloc.h ggml-backend.h ggml-cpu.h ggml-opt.h ggml-cpp.h gguf.h"
fi
for header in $headers; do
    install -m 644 "$here/../include/$header" "$root/include"
done
