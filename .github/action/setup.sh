#!/usr/bin/env bash
# Install postroj and what it needs of the host; say what is to be restored from the cache.
# In: VERSION, INSTALL_ONLY, PACKAGES, IMAGES, CACHE. Out: images, cache, key, artifact.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.github/action/common.sh
. "$here/common.sh"

install_postroj() {
	local wanted="${VERSION:+postroj==}${VERSION:-$here/../..}"
	if [ "$(cat "$work/installed" 2>/dev/null)" = "$wanted" ]; then # by a step before
		return
	fi
	local name python='' enough='import sys, ensurepip; sys.exit(sys.version_info < (3, 11))'
	for name in python3 python3.13 python3.12 python3.11; do
		if "$name" -c "$enough" 2>/dev/null; then
			python=$name
			break
		fi
	done
	[ "$python" ] || refuse 'there is no Python 3.11 or newer that can make a venv'
	"$python" -m venv --clear "$work/venv"
	"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted"
	"$postroj" --version
	echo "$wanted" >"$work/installed"
}

# Of network namespaces, the profile that AppArmor has for pasta lets it enter those of podman only.
# On a machine that is thrown away the profile may go.
free_pasta() {
	local profile
	for profile in /etc/apparmor.d/usr.bin.pas[st]*; do
		[ ! -e "$profile" ] || as_root apparmor_parser --remove "$profile" || true
	done
}

# Set `names` to those of the images that names and patterns stand for.
choose_images() {
	local word words plan options=()
	read -r -d '' -a words <<<"$IMAGES" || true
	[ "${#words[@]}" -gt 0 ] || refuse "the input 'images' names no image"
	find_files "$PACKAGES"
	[ "${#found[@]}" -gt 0 ] || refuse "the input 'packages' names no package"
	for word in "${found[@]}"; do options+=(--package="$word"); done
	for word in "${words[@]}"; do options+=(--image="$word"); done
	plan=$("$postroj" matrix --shards 1 --format json "${options[@]}")
	plan=$("$work/venv/bin/python" -c 'import json, sys; print(*json.loads(sys.argv[1])[0]["images"])' "$plan")
	read -r -a names <<<"$plan"
}

mkdir -p "$work"
install_postroj
# Not the folder of the venv, which has a Python and a pip as well.
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

# A new week, other images, another lock file or another postroj: another cache.
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
