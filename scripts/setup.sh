#!/bin/sh
# Install what the project needs and make .venv; quick when nothing changed.
#   scripts/setup.sh environment   .venv alone
#   scripts/setup.sh          what `make demo` and users need
#   scripts/setup.sh test     that, and what the tests compare against
#   scripts/setup.sh programs that, and the programs that `make test-programs` records
set -eu
cd "$(dirname "$0")/.."

PACKAGES="clang llvm libbpf-dev libbpf1 libdw1 gcc libc6-dev make python3 python3-venv"
TEST_PACKAGES="clang-14 llvm-14 bpftool binutils gcc-aarch64-linux-gnu skopeo valgrind clang-format"
TEST_PACKAGES="$TEST_PACKAGES heaptrack tmux zstd musl-tools libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0"
TEST_PACKAGES="$TEST_PACKAGES g++ libgoogle-perftools4 libtbbmalloc2 libmemkind0 dwz xz-utils"
TEST_PACKAGES="$TEST_PACKAGES docker.io docker-registry apache2-utils busybox-static gdb strace git"
TEST_PACKAGES="$TEST_PACKAGES chromium fonts-dejavu-core heaptrack-gui xvfb imagemagick tesseract-ocr"
TEST_PACKAGES="$TEST_PACKAGES qemu-system-x86 qemu-system-arm cpio kmod xz-utils mmdebstrap"
PROGRAM_PACKAGES="python3-numpy perl ruby php-cli php-fpm nginx-light curl redis-server postgresql sqlite3 rustc"

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

is_installed() {
	dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok'
}

install_missing() {
	missing=""
	for package in "$@"; do
		is_installed "$package" || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || {
		echo "setup: missing$missing, and no apt-get here: install their like by hand" >&2
		return 0
	}
	echo "setup: installing$missing" >&2
	as_root apt-get update -qq
	# shellcheck disable=SC2086  # a list of words
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# The newest clang that the distribution offers: diagrams must not depend on the compiler.
install_newest_clang() {
	newest=$(apt-cache search --names-only '^clang-[0-9]+$' | sed 's/ .*//; s/clang-//' | sort -n | tail -n 1)
	[ -z "$newest" ] || install_missing "clang-$newest" "llvm-$newest"
}

make_environment() {
	stamp=.venv/.requirements
	if cmp -s requirements/dev.txt "$stamp" && .venv/bin/gadgetops --version >/dev/null 2>&1; then
		return 0
	fi
	echo "setup: making .venv" >&2
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	cp requirements/dev.txt "$stamp"
}

if [ "${1:-}" = environment ]; then
	make_environment
	exit
fi
# shellcheck disable=SC2086  # lists of words
install_missing $PACKAGES
if [ "${1:-}" = test ] || [ "${1:-}" = programs ]; then
	# Any Go since 1.18 builds the linter of workflows.
	command -v go >/dev/null || TEST_PACKAGES="$TEST_PACKAGES golang-go"
	# Schemas of exports come in npm's packages; Spark runs on Java, and a program of ours is compiled.
	command -v npm >/dev/null || TEST_PACKAGES="$TEST_PACKAGES npm"
	command -v javac >/dev/null || TEST_PACKAGES="$TEST_PACKAGES default-jdk-headless"
	[ "$1" = test ] || TEST_PACKAGES="$TEST_PACKAGES $PROGRAM_PACKAGES"
	# shellcheck disable=SC2086
	install_missing $TEST_PACKAGES
	! command -v apt-cache >/dev/null || install_newest_clang
fi
make_environment
