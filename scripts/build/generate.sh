#!/bin/sh
# Generates src/kubelet/api from proto/. With --check: fails when the files there are not what would be generated.
set -eu
if [ "${1:-}" = --help ]; then
  echo "usage: npm run generate -- [--check]"
  exit 0
fi
cd "$(dirname "$0")/../.."
PATH="$PWD/node_modules/.bin:$PATH"
out=src/kubelet/api
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp -R "$out" "$before/api"
(cd proto && buf generate --template buf.gen.yaml)
oxfmt -c scripts/check/oxfmt.json "$out" >&2
if [ "${1:-}" = --check ] && ! diff -r "$before/api" "$out"; then
  rm -rf "$out"
  cp -R "$before/api" "$out"
  echo "$out is stale: run \"npm run generate\" and commit what changes" >&2
  exit 1
fi
