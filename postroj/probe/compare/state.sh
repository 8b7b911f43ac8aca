# shellcheck shell=sh
# Prints what a step must not take away and what `snapshot.sh` does not print, with NUL between the
# answers.
#     state.sh PROPERTIES RULES LISTS
# RULES and LISTS are commands of the package manager.
export SYSTEMD_COLORS=0
manager show --property="$1" -- '*.service' '*.socket' '*.timer' '*.path'; printf '\0'
for folder in /var/lib/*/ /var/opt/*/ /srv/*/; do
    [ ! -d "$folder" ] || printf '%s\n' "${folder%/}"
done; printf '\0'
find /etc -xdev -type f; printf '\0'
sh -lc true </dev/null >/dev/null 2>&1; echo $?
[ ! -L /lib ] || echo merged
printf '\0'
sh -c "$2"; printf '\0'
sh -c "$3"; :
