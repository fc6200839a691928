#!/bin/sh
# Lets git run the checks before each commit of this checkout: npm run hooks. Nothing else sets this.
set -eu
cd "$(dirname "$0")/../.."
if [ "${1:-}" = --help ]; then
  echo "usage: npm run hooks"
  exit 0
fi
git config core.hooksPath scripts/git-hooks
echo "git runs scripts/git-hooks/pre-commit before a commit; to undo: git config --unset core.hooksPath"
