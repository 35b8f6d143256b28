#!/bin/sh
# Build the registry clients that the tests of interoperation compare with, by name and version from Go's module
# proxy, into a folder of the user's cache; quick when they are there. What cannot be had is named, and the tests
# skip it.
#   scripts/interop_tools.sh          build what is missing
#   scripts/interop_tools.sh --path   print the folder
set -u
FOLDER="${GADGETOPS_INTEROP_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/gadgetops-tests/interop}"
TOOLS="
crane@v0.22.1   github.com/google/go-containerregistry/cmd/crane
oras@v1.3.6     oras.land/oras/cmd/oras
regctl@v0.11.7  github.com/regclient/regclient/cmd/regctl
cosign2@v2.6.5  github.com/sigstore/cosign/v2/cmd/cosign
cosign3@v3.1.3  github.com/sigstore/cosign/v3/cmd/cosign
"

if [ "${1:-}" = --path ]; then
	echo "$FOLDER"
	exit
fi
command -v go >/dev/null || {
	echo "interop: no go: install golang-go" >&2
	exit 1
}
mkdir -p "$FOLDER"
status=0
echo "$TOOLS" | while read -r named package; do
	[ -n "$named" ] || continue
	name=${named%@*} version=${named#*@}
	[ ! -x "$FOLDER/$named" ] || continue
	echo "interop: building $name $version" >&2
	scratch=$(mktemp -d)
	# One processor and little memory: a client of this kind has a thousand packages.
	if GOBIN=$scratch GOFLAGS="-mod=mod -p=1" GOTOOLCHAIN=local CGO_ENABLED=0 \
		nice go install -trimpath -ldflags "-s -w" "$package@$version" 2>"$scratch/log"; then
		mv "$scratch/${package##*/}" "$FOLDER/$named"
		ln -sf "$named" "$FOLDER/$name"
	else
		echo "interop: $name $version was not built: $(tail -n 1 "$scratch/log")" >&2
	fi
	rm -rf "$scratch"
done
for name in crane oras regctl cosign2 cosign3; do
	[ -x "$FOLDER/$name" ] || status=1
done
exit $status
