#!/bin/sh
# Prints the units and accounts of a guest, with NUL between the answers; with an argument without
# the states of unit files.
# One command for all, since each costs the same however little it asks. Without /proc not much works
# in a guest, and without a shell not even this.
read -r _ < /proc/self/status || exit
export SYSTEMD_COLORS=0
[ $# -gt 0 ] || systemctl list-unit-files --full --no-pager --no-legend
printf '\0'
systemctl list-units --full --no-pager --no-legend --plain; printf '\0'
cat /etc/passwd; printf '\0'
cat /etc/group; :
