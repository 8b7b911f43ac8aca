# shellcheck shell=bash disable=SC2034
# Sourced by the steps of the action: paths, root privileges, parsing of inputs.
# Inputs are environment variables, never part of a script's text.

work="$RUNNER_TEMP/postroj"
reports="$work/report"
postroj="$work/venv/bin/postroj"

# Without GitHub's cache, images stay in the default folder, as on self-hosted runners.
if [ "${CACHE:-true}" = true ]; then
	export POSTROJ_CACHE_DIR="$work/cache"
fi

# Variables that sudo passes on.
kept=POSTROJ_CACHE_DIR,POSTROJ_STATE_DIR,POSTROJ_CATALOG,POSTROJ_LOCK,POSTROJ_REQUIRE
kept+=,GITHUB_STEP_SUMMARY,http_proxy,https_proxy,ftp_proxy,no_proxy
kept+=,HTTP_PROXY,HTTPS_PROXY,FTP_PROXY,NO_PROXY,REQUESTS_CA_BUNDLE
kept+=,REGISTRY_AUTH_FILE,CONTAINERS_REGISTRIES_CONF,SSL_CERT_FILE,SSL_CERT_DIR

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo --non-interactive --preserve-env="$kept" -- "$@"
	fi
}

# Exit with the status of a usage error, and an annotation.
refuse() {
	printf '::error title=postroj::%s\n' "${1//%/%25}"
	exit 2
}

# Set `found` to the values of an input: files that match its lines; URLs and `repo` unchanged.
find_files() {
	local line files
	found=()
	while IFS=$' \t\r' read -r line; do
		case "$line" in
			'') ;;
			*://* | repo) found+=("$line") ;;
			*)
				if [ -e "$line" ]; then
					found+=("$line")
					continue
				fi
				mapfile -t files < <(compgen -G "$line" | LC_ALL=C sort)
				[ "${#files[@]}" -gt 0 ] || refuse "'$line' matches no file"
				found+=("${files[@]}")
				;;
		esac
	done <<<"$1"
}
