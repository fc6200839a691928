#!/bin/sh
# Installs the exact packages of the lock file, unless they are there: with npm, or with Bun where there is no npm.
set -eu
cd "$(dirname "$0")/../.."
stamp=node_modules/.installed
if [ -e "$stamp" ] && cmp -s package-lock.json "$stamp"; then exit 0; fi
if command -v npm >/dev/null 2>&1; then
  npm ci
elif command -v bun >/dev/null 2>&1; then
  bun install --frozen-lockfile
else
  echo "neither npm nor bun is here: install Node.js (which brings npm) or Bun" >&2
  exit 1
fi
cp package-lock.json "$stamp"
