#!/usr/bin/env bash
# Install postroj and its requirements; choose the images and the cache key.
# In: VERSION, INSTALL_ONLY, PACKAGES, IMAGES, ARGS, CACHE. Out: images, cache, key, artifact.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.github/action/common.sh
. "$here/common.sh"

install_postroj() {
	local wanted="${VERSION:+postroj==}${VERSION:-$here/../..}"
	if [ "$(cat "$work/installed" 2>/dev/null)" = "$wanted" ]; then # by an earlier step
		return
	fi
	local name python='' enough='import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'
	for name in python3 python3.14 python3.13 python3.12 python3.11; do
		if "$name" -c "$enough" 2>/dev/null; then
			python=$name
			break
		fi
	done
	[ "$python" ] || refuse 'no Python 3.11 or newer with venv is installed'
	"$python" -m venv --clear "$work/venv"
	"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted"
	"$postroj" --version
	echo "$wanted" >"$work/installed"
}

# AppArmor's profile of pasta only allows the network namespaces of podman.
# Remove it on a throw-away machine.
free_pasta() {
	local profile
	for profile in /etc/apparmor.d/usr.bin.pas[st]*; do
		[ ! -e "$profile" ] || as_root apparmor_parser --remove "$profile" || true
	done
}

# Set `names` to the images of the inputs, else of the project file, else the default ones.
choose_images() {
	local word words plan options=()
	while IFS=$' \t\r' read -r word; do
		case "$word" in --project=* | --no-project) options+=("$word") ;; esac
	done <<<"${ARGS:-}"
	find_files "$PACKAGES"
	for word in "${found[@]}"; do options+=(--package="$word"); done
	read -r -d '' -a words <<<"$IMAGES" || true
	for word in "${words[@]}"; do options+=(--image="$word"); done
	plan=$("$postroj" matrix --default-images --shards 1 --format json "${options[@]}")
	plan=$("$work/venv/bin/python" -c 'import json, sys; print(*json.loads(sys.argv[1])[0]["images"])' "$plan")
	read -r -a names <<<"$plan"
}

mkdir -p "$work"
install_postroj
# Not the venv's folder, which also has a Python and a pip.
mkdir -p "$work/bin"
ln -sfn "$postroj" "$work/bin/postroj"
echo "$work/bin" >>"$GITHUB_PATH"
[ "${INSTALL_ONLY:-false}" != true ] || exit 0

choose_images
echo '::group::postroj doctor --fix'
as_root "$postroj" doctor --fix | tee "$work/doctor"
if [ "${RUNNER_ENVIRONMENT:-}" = github-hosted ] && grep --quiet 'serves no network' "$work/doctor"; then
	free_pasta
	as_root "$postroj" doctor
fi
echo '::endgroup::'

# The cache key changes with the week, the images, the lock file and the version of postroj.
lock=${POSTROJ_LOCK-postroj.lock}
version=$("$postroj" --version)
what=$({
	echo "${names[*]}"
	[ ! -f "$lock" ] || cat "$lock"
} | sha256sum)
label=${names[0]}
[ "${#names[@]}" = 1 ] || label+="-and-$((${#names[@]} - 1))-more"
{
	echo "images=${names[*]}"
	echo "cache=$work/cache/images"
	echo "key=${version/ /-}-$(uname -m)-$(date -u +%G-%V)-${what:0:16}"
	echo "artifact=postroj-$GITHUB_JOB-$label"
} >>"$GITHUB_OUTPUT"
