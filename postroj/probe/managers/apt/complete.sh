# complete.sh COUNT NAME=VERSION... APT_GET...: install packages as dependencies, so that apt removes them
# with the last package that needs them. What somebody installed on purpose stays marked so.
# shellcheck shell=sh
count=$1
shift
names=
while [ "$count" -gt 0 ]; do
    names="$names ${1%%=*}"
    set -- "$@" "$1"
    shift
    count=$((count - 1))
done
# names of packages have no blanks
# shellcheck disable=SC2086
manual=$(apt-mark showmanual $names)
"$@"
# shellcheck disable=SC2086
apt-mark auto $names >/dev/null
# shellcheck disable=SC2086
[ -z "$manual" ] || apt-mark manual $manual >/dev/null
