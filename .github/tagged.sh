#!/usr/bin/env bash
# tagged.sh TAG: fail unless all files tell of the release that the tag names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${1#v}

# told FILE WORDS: whether a file has a line that begins with these words.
told() {
	awk -v words="$2" 'index($0, words) == 1 { found = 1 } END { exit !found }' "$1" || {
		echo "error: $1 has no line that begins with '$2'" >&2
		exit 1
	}
}

told postroj/__init__.py "__version__ = \"$version\""
told CHANGES.rst "$version (20"
told packages/postroj.spec "Version:        $version"
told packages/PKGBUILD "pkgver=$version"
told debian/changelog "postroj ($version) unstable;"
