#!/bin/sh
# Prints the places of units, the units and the accounts of a guest, with NUL between the answers.
# One command for all, since each costs the same however little it asks. Without /proc not much works
# in a guest, and without a shell not even this.
read -r _ < /proc/self/status || exit
export SYSTEMD_COLORS=0
# shellcheck disable=SC2046 # a list of folders
find $(systemctl show --property=UnitPath --value) \( -type l -printf '%p\t%l\n' \) -o \
    ! -type d -printf '%p\t\t%C@ %i %s\n' 2>/dev/null
printf '\0'
systemctl list-units --full --no-pager --no-legend --plain; printf '\0'
cat /etc/passwd; printf '\0'
cat /etc/group; :
