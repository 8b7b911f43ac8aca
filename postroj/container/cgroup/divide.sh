# divide.sh GROUP COMMAND...: run COMMAND in the helpers' group below GROUP.
# A group of cgroup v2 that hands controllers down has no processes of its own.
# shellcheck shell=sh

set -eu

[ -d "$1/helpers" ] || mkdir "$1/helpers"
echo 0 >"$1/helpers/cgroup.procs"
shift
exec "$@"
