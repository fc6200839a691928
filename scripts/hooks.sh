#!/bin/sh
# Lets git run the checks before a commit. Done at every install; does nothing outside a checkout.
set -eu
cd "$(dirname "$0")/.."
if [ -d .git ] && command -v git >/dev/null 2>&1; then git config core.hooksPath scripts/git-hooks; fi
