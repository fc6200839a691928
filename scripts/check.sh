#!/bin/sh
# Everything that a commit must pass without running the program: types, lint and import rules, format, generated code.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
tsc -p tsconfig.json
oxlint -c scripts/oxlint.json --deny-warnings src native test scripts
oxfmt -c scripts/oxfmt.json --check src native test scripts
sh scripts/generate.sh --check
