# shellcheck shell=sh
# Prints what a package file ships, in three parts: its files, the digests of those below /etc, and
# its conffiles.
#     shipped.sh PACKAGE
set -u
files=$(dpkg-deb --contents "$1") || exit
printf '%s\n' "$files"
printf '\0'
case $files in *' ./etc/'*)
    folder=$(mktemp -d)
    dpkg-deb --fsys-tarfile "$1" | tar --extract --directory "$folder" --no-same-owner ./etc
    (cd "$folder" && find etc -type f -exec sha256sum -- {} +)
    rm -rf -- "$folder"
    ;;
esac
printf '\0'
dpkg-deb --info "$1" conffiles 2>/dev/null
:
