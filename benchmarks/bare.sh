#!/bin/sh
# The limit: mount, boot, wait for the notification, kill, with nothing around it.
# Usage: bare.sh IMAGE WORKDIR [PACKAGE UNIT [OLDER]]. Runs in a mount namespace of its own
# (compare.py sees to it). IMAGE is an unpacked directory, or squashfs files from below, with `:` between. With PASTA, a command line,
# the guest has a network of its own. With a package, that is installed, and its unit looked at; with
# an older one that comes first, then the upgrade, a restart of the guest, removal and purge. With
# LISTED the image has package lists, with PURGED the name of a package is removed and purged at the end.
set -eu
image=$1 work=$2
mount -t tmpfs tmpfs "$work"
cd "$work"
mkdir upper upper/etc work root
INSIDE=true RESTARTED=
if [ $# -gt 2 ]; then
    cp "$3" upper/package.deb
    cp /etc/resolv.conf upper/etc/
    apt="export DEBIAN_FRONTEND=noninteractive; apt-get -qy"
    active="systemctl is-active $4"
    INSIDE="$apt install /package.deb && $active"
    [ "${LISTED:-}" ] || INSIDE="$apt update && $INSIDE"
    [ -z "${PURGED:-}" ] || INSIDE="$INSIDE && $apt remove $PURGED && $apt purge $PURGED"
fi
if [ $# -gt 4 ]; then
    cp "$5" upper/older.deb
    INSIDE="$apt update && $apt install /older.deb && $active && $apt install /package.deb && $active"
    RESTARTED="$active && $apt remove ${4%.service} && $apt purge ${4%.service}"
fi
lower= number=0
if [ -d "$image" ]; then lower=$image image=; fi
IFS=:
for file in $image; do
    mkdir "lower$number"
    mount -t squashfs -o loop,ro "$file" "lower$number"
    lower=lower$number${lower:+:$lower} number=$((number + 1))
done
unset IFS
NETWORK= SERVER=
if [ -n "${PASTA:-}" ]; then
    : > netns
    unshare --net="$work/netns" true
    $PASTA --netns "$work/netns" > /dev/null 2>&1 &
    NETWORK=--network-namespace-path=$work/netns SERVER=$!
fi
export INSIDE RESTARTED NETWORK SERVER
tr -d - < /proc/sys/kernel/random/uuid > upper/etc/machine-id
mount -t overlay -o lowerdir="$lower",upperdir=upper,workdir=work overlay root
exec perl -e '
use strict; use Socket;
$ENV{NOTIFY_SOCKET} = "$ARGV[0]/notify";
$ENV{SYSTEMD_SECCOMP} = 0; $ENV{SYSTEMD_NSPAWN_UNIFIED_HIERARCHY} = 1;
my ($pid, $leader);
sub boot {
    unlink "notify";
    socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un("notify")) or die;
    $pid = fork // die;
    if (!$pid) {
        open STDIN, "<", "/dev/null"; open STDOUT, ">", "log"; open STDERR, ">&STDOUT";
        exec "systemd-nspawn", "--quiet", "--boot", "--machine=bare-$$", "-D", "root",
            "--register=no", "--keep-unit", "--notify-ready=yes", "--settings=no",
            "--link-journal=no", "--resolv-conf=off", "--timezone=off", $ENV{NETWORK} || (),
            split(" ", $ENV{KERNEL_COMMAND_LINE});
    }
    while (1) {
        recv($s, my $message, 4096, 0);
        $leader = $1 if $message =~ /X_NSPAWN_LEADER_PID=(\d+)/;
        return if $message =~ /^READY=1/m;
    }
}
sub inside {
    return system("nsenter", "-t", $leader, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "sh", "-c", @_);
}
boot();
if ($ENV{SERVER}) { waitpid $ENV{SERVER}, 0; $? == 0 or die; }
$| = 1; print "ready\n";
inside($ENV{INSIDE}) == 0 or die;
if ($ENV{RESTARTED}) {
    inside("systemctl --no-block start --job-mode=replace-irreversibly reboot.target");
    waitpid $pid, 0;
    boot();
    inside($ENV{RESTARTED}) == 0 or die;
}
kill "KILL", $leader; waitpid $pid, 0;
' "$work"
