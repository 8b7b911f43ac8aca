#!/bin/sh
# The limit: mount, boot, wait for the notification, kill, with nothing around it.
# Usage: bare.sh IMAGE WORKDIR [PACKAGE UNIT]. Runs in a mount namespace of its own (compare.py sees
# to it). With a package, that is installed, and its unit looked at.
set -eu
image=$1 work=$2
export INSIDE=true
mount -t tmpfs tmpfs "$work"
cd "$work"
mkdir lower upper upper/etc work root
if [ $# -gt 2 ]; then
    cp "$3" upper/package.deb
    cp /etc/resolv.conf upper/etc/
    INSIDE="export DEBIAN_FRONTEND=noninteractive; apt-get -q update \
        && apt-get -qy install --no-install-recommends /package.deb && systemctl is-active $4"
fi
mount -t squashfs -o loop,ro "$image" lower
tr -d - < /proc/sys/kernel/random/uuid > upper/etc/machine-id
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
exec perl -e '
use strict; use Socket;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un("notify")) or die;
$ENV{NOTIFY_SOCKET} = "$ARGV[0]/notify";
$ENV{SYSTEMD_SECCOMP} = 0; $ENV{SYSTEMD_NSPAWN_UNIFIED_HIERARCHY} = 1;
my $pid = fork // die;
if (!$pid) {
    open STDIN, "<", "/dev/null"; open STDOUT, ">", "log"; open STDERR, ">&STDOUT";
    exec "systemd-nspawn", "--quiet", "--boot", "--machine=bare-$$", "-D", "root",
        "--register=no", "--keep-unit", "--notify-ready=yes", "--settings=no",
        "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        split(" ", $ENV{KERNEL_COMMAND_LINE});
}
my $leader;
while (1) {
    recv($s, my $message, 4096, 0);
    $leader = $1 if $message =~ /X_NSPAWN_LEADER_PID=(\d+)/;
    last if $message =~ /^READY=1/m;
}
system("nsenter", "-t", $leader, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "sh", "-c", $ENV{INSIDE}) == 0 or die;
kill "KILL", $leader; waitpid $pid, 0;
' "$work"
