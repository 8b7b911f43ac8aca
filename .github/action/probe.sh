#!/usr/bin/env bash
# Probe, and fail the job for the outcomes in FAIL_ON.
# In: PACKAGES, IMAGES (names), STEPS, UPGRADE_FROM, ARGS, FAIL_ON, CACHE.
# Out: outcome, report, cached.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.github/action/common.sh
. "$here/common.sh"

read -r -a names <<<"$IMAGES"
options=()
for name in "${names[@]}"; do options+=(--image="$name"); done
find_files "${UPGRADE_FROM:-}"
for file in "${found[@]}"; do options+=(--upgrade-from="$file"); done
[ -z "${STEPS:-}" ] || options+=(--steps="$STEPS")
while IFS=$' \t\r' read -r line; do
	[ -z "$line" ] || options+=("$line")
done <<<"${ARGS:-}"
find_files "$PACKAGES"
files=("${found[@]}")

outcomes=([0]=pass [1]=fail [3]=skip [4]=error)
read -r -d '' -a failing <<<"$FAIL_ON" || true
for word in "${failing[@]}"; do
	[[ " ${outcomes[*]:1} " == *" $word "* ]] || refuse "'$word' in the input 'fail-on' is not an outcome"
done

mkdir -p "$reports"
status=0
as_root "$postroj" test "${options[@]}" --report=github \
	--report=html="$reports/report.html" --report=junit="$reports/junit.xml" \
	--report=json="$reports/report.json" -- "${files[@]}" || status=$?
# Later steps and the runner's clean-up are not root.
[ "$(id -u)" = 0 ] || as_root chown --recursive --no-dereference "$(id -u):$(id -g)" "$work"

outcome=${outcomes[status]:-}
cached=true
for name in "${names[@]}"; do
	[ -e "$work/cache/images/$name-$(uname -m).json" ] || cached=false
done
{
	echo "outcome=$outcome"
	echo "report=$reports"
	echo "cached=$cached"
} >>"$GITHUB_OUTPUT"

# Usage errors and interruptions always fail.
if [ "$outcome" ] && [[ " ${failing[*]} " != *" $outcome "* ]]; then
	exit 0
fi
exit "$status"
