# own_network.sh NETNS LEADER PASTA...: name the leader's network namespace NETNS, and serve it.
# pasta.py has the command line. A namespace from before a reboot loses the name.
# shellcheck shell=sh

set -eu

# pasta has no right to open the namespace in /proc before the leader has started its program.
# A pasta that ends while its namespace has the name ends the launch script, which is PID 1.
netns=$1 leader=$2
shift 2
if [ -e "$netns" ]; then
    umount --lazy "$netns"
    rm "$netns"
fi
: >"$netns"
mount --bind "/proc/$leader/ns/net" "$netns"
number() { stat --dereference --format=%i "$netns"; }
own=$(number)
serve() {
    (exec "$@" --netns "$netns" 2>&3) || :
    [ "$(number)" != "$own" ] || kill -USR2 1
}
# pasta prints its PID when the network is up; sh would report its end to a reader that is gone
{ serve "$@" 3>&2 2>/dev/null & } | read -r _
