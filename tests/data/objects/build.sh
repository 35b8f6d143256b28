#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rebuild the objects of this folder from the C beside them. Objects differ from compiler to compiler, and what
# is drawn from them may too: after a rebuild, `python expected.py` writes the expected texts anew, from ig.
set -eu
cd "$(dirname "$0")"
: "${CLANG:=clang-19}" "${STRIP:=llvm-strip-19}"

build() { # NAME FLAGS…
	name=$1
	shift
	"$CLANG" -O2 -target bpf -Wall -ffile-prefix-map="$PWD"=. -I"/usr/include/$(uname -m)-linux-gnu" \
		"$@" -c "$name.bpf.c" -o "$name.bpf.o"
	"$STRIP" -g "$name.bpf.o"
}

for source in *.bpf.c; do
	name=${source%.bpf.c}
	case $name in
	no_btf) build "$name" ;;
	instructions) build "$name" -g -mcpu=v4 ;;
	big_endian) build "$name" -g -target bpfeb ;;
	*) build "$name" -g ;;
	esac
done
