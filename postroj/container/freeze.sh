# shellcheck shell=sh
# Freezes a control group while a command runs: freeze.sh GROUP COMMAND...
# cgroup-v2.rst of the kernel. This shell outlives us, and tar ends when nobody reads on.
set -u
group=$1
shift
thaw() { echo 0 > "$group/cgroup.freeze"; }
trap thaw EXIT
echo 1 > "$group/cgroup.freeze" || exit
tries=0
until grep -qx 'frozen 1' "$group/cgroup.events"; do
    [ $((tries += 1)) -lt 1000 ] || { echo 'the guest cannot be frozen' >&2; exit 1; }
    sleep 0.01
done
"$@"
