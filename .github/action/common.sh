# shellcheck shell=bash disable=SC2034
# Read by the steps of the action: where things lie, how to become root, how to read inputs.
# Inputs come as variables of the environment, and never as text of a script.

work="$RUNNER_TEMP/postroj"
reports="$work/report"
postroj="$work/venv/bin/postroj"

# Without a cache of GitHub's, images are where they always are: on a machine of one's own they stay.
if [ "${CACHE:-true}" = true ]; then
	export POSTROJ_CACHE_DIR="$work/cache"
fi

# sudo forgets the environment, but for these.
kept=POSTROJ_CACHE_DIR,POSTROJ_STATE_DIR,POSTROJ_CATALOG,POSTROJ_LOCK
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

# End with the status of wrong usage, and an annotation that says why.
refuse() {
	printf '::error title=postroj::%s\n' "${1//%/%25}"
	exit 2
}

# Set `found` to what the lines of an input name: files by patterns; URLs and the word `repo` as
# they are.
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
