#!/usr/bin/env bash
# package.sh [FOLDER]: build the wheel and the source distribution, check and install both, and lint
# the latter; put them into FOLDER.
set -euo pipefail
target=${1:+$(realpath --canonicalize-missing "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet build twine
"$work/tools/bin/python" -m build --outdir "$work/dist" .
"$work/tools/bin/twine" check --strict "$work"/dist/*

for file in "$work"/dist/*; do
	"$python" -m venv --clear "$work/venv"
	"$work/venv/bin/pip" install --quiet "$file"
	(cd / && "$work/venv/bin/postroj" --version && "$work/venv/bin/postroj" list-images >/dev/null)
done

mkdir "$work/source"
tar --extract --strip-components=1 --directory="$work/source" --file="$(echo "$work"/dist/*.tar.gz)"
make --directory="$work/source" PYTHON="$python" lint docs
(cd "$work/source" && .venv/bin/pytest -q -p no:cacheprovider tests/unit/test_*.py)
[ -z "$target" ] || install -D --mode=644 --target-directory="$target" "$work"/dist/*
