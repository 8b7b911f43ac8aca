# hook_owner.sh TITLE: name the packages that own a hook; pacman reports a hook by its description, or
# by the name of its file.
# shellcheck shell=sh
for hook in /usr/share/libalpm/hooks/*.hook /etc/pacman.d/hooks/*.hook; do
    if [ "${hook##*/}" = "$1" ] || grep -qsxF "Description = $1" "$hook"; then
        pacman --query --owns --quiet -- "$hook"
    fi
done
