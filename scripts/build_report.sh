#!/bin/sh
# Make the program of `gadgetops report`'s page of web/; quick when nothing changed. Needs npm.
#   scripts/build_report.sh        into operator/gadgetops/report/page/built
#   scripts/build_report.sh test   that, and run the tests of web/test
set -eu
cd "$(dirname "$0")/../web"
BUILT=../operator/gadgetops/report/page/built

digest() {
	cat package.json integrity.json tsconfig.json src/* ../scripts/build_report.sh | sha256sum | cut -d ' ' -f 1
}

install_packages() {
	cmp -s package.json node_modules/.package.json 2>/dev/null && return 0
	echo "report: fetching npm packages" >&2
	# Packages with native programs ship them; no script of theirs has to run.
	npm install --ignore-scripts --no-audit --no-fund --package-lock=false --silent
	node check_integrity.mjs
	cp package.json node_modules/.package.json
}

build() {
	node_modules/.bin/tsc
	mkdir -p "$BUILT"
	rm -f "$BUILT/digest.txt"
	node_modules/.bin/esbuild src/main.ts --bundle --minify --format=iife --target=es2022 \
		--legal-comments=none --log-level=warning --outfile="$BUILT/report.js"
	node_modules/.bin/esbuild src/style.css --bundle --minify --log-level=warning --outfile="$BUILT/report.css"
	{
		echo "This page contains uPlot:"
		echo
		cat node_modules/uplot/LICENSE
	} >"$BUILT/licences.txt"
	digest >"$BUILT/digest.txt"
}

install_packages
[ "$(cat "$BUILT/digest.txt" 2>/dev/null)" = "$(digest)" ] || build
if [ "${1:-}" = test ]; then
	node_modules/.bin/esbuild test/*.test.ts --bundle --platform=node --format=esm --log-level=warning \
		--outdir=node_modules/.tests --out-extension:.js=.mjs
	node --test node_modules/.tests/
fi
