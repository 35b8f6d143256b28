#!/bin/sh
# The whole chain on a small program: source, image, diagrams, recording, leaks.
#   scripts/demo.sh             what `make demo` shows
#   scripts/demo.sh ship        make the recording that is shown where nothing may be traced
set -eu
cd "$(dirname "$0")/.."
SHIPPED=tests/data/demo.gadgetrec

say() {
	printf '\n%s\n' "$*" >&2
}

# Every caller is on the stack and its line is known, whatever the folder is called.
compile_program() {
	gcc -g -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -ffile-prefix-map="$PWD"=. \
		-o "$1" tests/workloads/demo.c
}

ship() {
	folder=$(mktemp -d)
	compile_program "$folder/demo"
	rm -rf "$SHIPPED"
	gadgetops record --no-pairs --output "$SHIPPED" -- "$folder/demo"
	rm -r "$folder"
}

show() {
	say "1. compile the gadget and pack it into an image"
	gadgetops build . --tag trace_malloc
	say "2. the diagrams in DEVELOPER.md are those of the image"
	gadgetops docs --check
	echo "up to date" >&2
	say "3. record a small program that leaks: tests/workloads/demo.c"
	mkdir -p build
	rm -rf build/demo.gadgetrec
	compile_program build/demo
	recording=build/demo.gadgetrec
	if ! gadgetops record --output "$recording" -- build/demo; then
		echo "Nothing can be traced here; what follows is a recording that comes with the project." >&2
		recording=$SHIPPED
	fi
	say "4. what leaks, and where"
	gadgetops leaks "$recording"
}

case "${1:-}" in
ship) ship ;;
*) show ;;
esac
