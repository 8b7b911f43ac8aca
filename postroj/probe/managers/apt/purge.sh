# shellcheck shell=sh
# Purges packages: purge.sh APT_GET NAME...
# Calls dpkg, because apt would first read all package lists. dpkg ends with status 2 if it cannot
# work at all: if it is locked, for example. apt waits for the lock.
apt=$1
shift
dpkg --purge -- "$@"
status=$?
[ "$status" = 2 ] || exit "$status"
# shellcheck disable=SC2086 # several words
exec $apt "$@"
