#!/bin/sh
# Make the program of `gadgetops report`'s page of web/. Needs npm; packages are fetched once.
#   scripts/build_report.sh FOLDER   into FOLDER: report.js, report.css, licences.txt
#   scripts/build_report.sh test     check its types and run the tests of web/test
#   scripts/build_report.sh packages have npm's packages in web/node_modules, and no more
set -eu
command -v npm >/dev/null || {
	echo "npm: not found" >&2
	exit 127
}
folder=$(realpath -m "${1:?a folder, test, or packages}")
cd "$(dirname "$0")/../web"

install_packages() {
	# Another process may do the same.
	exec 9<package.json
	! command -v flock >/dev/null || flock 9
	cmp -s package.json node_modules/.package.json 2>/dev/null && return 0
	# Packages with native programs ship them; no script of theirs has to run.
	npm install --ignore-scripts --no-audit --no-fund --package-lock=false --silent
	node check_integrity.mjs
	cp package.json node_modules/.package.json
}

build() {
	mkdir -p "$folder"
	node_modules/.bin/esbuild src/main.ts --bundle --minify --format=iife --target=es2022 \
		--legal-comments=none --log-level=warning --outfile="$folder/report.js"
	node_modules/.bin/esbuild src/style.css --bundle --minify --log-level=warning --outfile="$folder/report.css"
	{
		echo "This page contains uPlot:"
		echo
		cat node_modules/uplot/LICENSE
	} >"$folder/licences.txt"
}

run_tests() {
	node_modules/.bin/tsc
	node_modules/.bin/esbuild test/*.test.ts --bundle --platform=node --format=esm --log-level=warning \
		--outdir=node_modules/.tests --out-extension:.js=.mjs
	node --test node_modules/.tests/
}

install_packages
case "$1" in
packages) ;;
test) run_tests ;;
*) build ;;
esac
