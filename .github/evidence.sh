#!/usr/bin/env bash
# Collect what explains a failed run of the tests, as root: evidence.sh FOLDER
set -uo pipefail
mkdir -p "$1"
cd "$1" || exit

show() {
	local file=$1
	shift
	"$@" >"$file" 2>&1 || true
}
show journal.txt journalctl --boot --no-pager --lines=20000
show kernel.txt dmesg
show processes.txt ps -e --forest -o pid,ppid,user,stat,etime,cgroup,args
show mounts.txt cat /proc/self/mountinfo
show loop-devices.txt losetup --list
show memory.txt sh -c 'free; df --human-readable; cat /proc/pressure/*'
show versions.txt sh -c 'uname -a; systemd-nspawn --version; python3 --version'
# consoles of guests and what tests have left; images and packages are large
for folder in /run/postroj /tmp/pytest-of-*; do
	[ ! -d "$folder" ] || find "$folder" -xdev -type f -size -1M \
		\( -name '*.txt' -o -name '*.json' -o -name '*.xml' -o -name '*.log' -o -name console \) \
		-print0 | tar --create --null --files-from=- --gzip \
		--file="$(basename "$folder").tar.gz" || true
done
# the next step is not root
chmod --recursive a+rX .
