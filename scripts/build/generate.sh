#!/bin/sh
# Generates src/kubelet/api from proto/. With --check: fails when the files there are not what would be generated, and changes nothing.
set -eu
if [ "${1:-}" = --help ]; then
  echo "usage: npm run generate -- [--check]"
  exit 0
fi
cd "$(dirname "$0")/../.."
PATH="$PWD/node_modules/.bin:$PATH"
out=src/kubelet/api
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The template's folder is beside proto/.
mkdir "$work/proto"
(cd proto && buf generate --template buf.gen.yaml --output "$work/proto")
oxfmt -c scripts/check/oxfmt.json "$work/$out" >&2
if [ "${1:-}" != --check ]; then
  rm -rf "$out"
  cp -R "$work/$out" "$out"
elif ! diff -r "$work/$out" "$out"; then
  echo "$out is stale: run \"npm run generate\" and commit what changes" >&2
  exit 1
fi
