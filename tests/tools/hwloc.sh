#!/bin/sh
# Tests of topologies need libhwloc at run time (the library itself does without): hwloc.sh FOLDER prints the folder that has one, for
# LD_LIBRARY_PATH: the system's, else FOLDER, with Debian's package unpacked into it. Nothing is installed.
set -eu
folder=$1

system=$(ldconfig -p 2>/dev/null | sed -n 's/.*libhwloc\.so\.15 .* => //p' | head -n 1)
if [ -n "$system" ]; then
    dirname "$system"
    exit 0
fi
if [ ! -e "$folder/libhwloc.so.15" ]; then
    echo "setting up $folder: libhwloc15" >&2
    rm -rf "$folder.new"
    mkdir -p "$folder.new/package"
    (
        cd "$folder.new"
        # A machine that never updated its lists has none; they are needed for this alone.
        apt-get download libhwloc15 >/dev/null 2>&1 || { apt-get update >/dev/null && apt-get download libhwloc15 >/dev/null; }
        dpkg-deb -x libhwloc15_*.deb package
        mv package/usr/lib/*/libhwloc.so.15* .
        cp package/usr/share/doc/libhwloc15/copyright .
        rm -r package ./*.deb
    ) || { echo "no libhwloc.so.15: install libhwloc15 (hwloc-libs), or see to it that apt-get can be used" >&2; exit 1; }
    rm -rf "$folder"
    mv "$folder.new" "$folder"
fi
echo "$folder"
