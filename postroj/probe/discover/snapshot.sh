#!/bin/sh
# Prints the units and accounts of a guest, with NUL between the answers.
# One command for all, since each costs the same however little it asks. Without /proc not much works
# in a guest, and without a shell not even this.
read -r _ < /proc/self/status || exit
export SYSTEMD_COLORS=0
systemctl list-unit-files --full --no-pager --no-legend; printf '\0'
systemctl list-units --full --no-pager --no-legend --plain; printf '\0'
cat /etc/passwd; printf '\0'
cat /etc/group; :
