#!/bin/sh
# Purges packages: purge.sh APT_GET NAME...
# dpkg alone does what apt would have it do, without reading all lists before. Its status 2 is that of
# an error before it does anything, such as a lock, for which apt waits.
apt=$1
shift
dpkg --purge -- "$@"
status=$?
[ "$status" = 2 ] || exit "$status"
# shellcheck disable=SC2086 # several words
exec $apt "$@"
