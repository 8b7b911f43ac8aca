# complete.sh APT_MARK COUNT NAME=VERSION... APT_GET...: install packages as dependencies, so that apt removes them
# with the last package that needs them. What somebody installed on purpose stays marked so.
# shellcheck shell=sh
mark=$1 count=$2
shift 2
names=
while [ "$count" -gt 0 ]; do
    names="$names ${1%%=*}"
    set -- "$@" "$1"
    shift
    count=$((count - 1))
done
# shellcheck disable=SC2086 # a list of names
there=$(dpkg-query --show --showformat '${binary:Package}\n' $names 2>/dev/null || true)
# shellcheck disable=SC2086 # a command and a list of names
manual=${there:+$($mark showmanual $there)}
"$@"
# shellcheck disable=SC2086
$mark auto $names >/dev/null
# shellcheck disable=SC2086
[ -z "$manual" ] || $mark manual $manual >/dev/null
