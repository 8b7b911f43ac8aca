# shellcheck shell=sh
# Deletes the file "$1" and its folder, if that is empty then.
rm -f -- "$1"
rmdir --ignore-fail-on-non-empty -- "${1%/*}/"
