#!/bin/busybox sh
# /init of the initrd: puts the guest's root file system together from disks, starts what serves the
# guest from outside of it, and becomes the guest's own init.
#
# The disks are found by their serial numbers: `tools0`, `tools1`, ... and `layer0`, `layer1`, ...
# are squashfs files, the lowest first, `files` is what the guest writes, `seed` a tar with these:
#
#     settings       what launch.py says: shell variables
#     server/        the modules of postroj that answer for the guest
#     seed/          the topmost layer below what the guest writes: its identity
#     run/           files for the guest's /run
#
# Everything but the guest's root stays out of the guest's mount namespace.
# shellcheck shell=sh

network=   # `dhcp`, or '' for none
init=      # the guest's init with its arguments
overlay=   # options of the root file system

fail() {
    echo "postroj: $*"
    sync
    echo 1 >/proc/sys/kernel/sysrq
    echo o >/proc/sysrq-trigger # power off
    sleep 60
}

main() {
    /bin/busybox mkdir -p /proc /sys /dev /mnt
    /bin/busybox --install -s /bin
    export PATH=/bin
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    # sshd makes terminals there, and the guest's init leaves it alone: so both know each terminal
    mkdir /dev/pts
    mount -t devpts -o nosuid,noexec,mode=0620,gid=5 pts /dev/pts
    while read -r module; do
        insmod "/modules/$module" || echo "postroj: no module $module"
    done </modules/order
    echo 'postroj: booted'
    if grep -q postroj.trial /proc/cmdline; then
        fail 'the trial is over'
    fi
    await_disk seed || fail 'no virtio disk appeared'
    # what lies on the first file system is deleted as the guest's takes its place
    mkdir /given
    mount -t tmpfs -o mode=0755 given /given
    tar -x -C /given -f "$disk" || fail 'the seed could not be read'
    # shellcheck disable=SC1091 # of the seed
    . /given/settings

    mkdir -p /layers /tools /files
    mount_layers tools
    tools=$lowerdir
    mount_layers layer
    if [ ! -L /layers/layer0/lib ]; then # it is a folder of its own, and kmod looks there
        mkdir -p /given/seed/lib
        ln -s /usr/lib/modules /given/seed/lib/modules
    fi
    mount_files || fail "the disk for the guest's files could not be used"
    mkdir -p /files/upper /files/work /files/tools /files/scratch
    mount -t overlay -o "lowerdir=$tools,upperdir=/files/tools,workdir=/files/scratch" \
        tools /tools 2>/dev/null || fail 'the tools could not be mounted'
    mkdir -p /sysroot
    mount -t overlay -o "lowerdir=/given/seed:$lowerdir,upperdir=/files/upper,workdir=/files/work,$overlay" \
        root /sysroot || fail 'the root file system could not be mounted'
    mount -t tmpfs -o mode=0755,nosuid,nodev run /sysroot/run
    cp -a /given/run/. /sysroot/run/
    ip link set lo up
    [ ! "$network" ] || start_network
    serve
    start_guest
}

# await_disk SERIAL: set `disk` to the device with this serial number
await_disk() {
    tries=0
    while [ $tries -lt 100 ]; do
        for found in /sys/block/vd*; do
            if [ "$(cat "$found/serial" 2>/dev/null)" = "$1" ]; then
                disk=/dev/${found##*/}
                return
            fi
        done
        tries=$((tries + 1))
        usleep 50000
    done
    return 1
}

# mount_layers KIND: mount the squashfs files KIND0, KIND1, ... and set `lowerdir`
mount_layers() {
    number=0 lowerdir=
    while grep -qs "^$1$number$" /sys/block/vd*/serial; do
        await_disk "$1$number"
        folder=/layers/$1$number
        mkdir "$folder"
        mount -t squashfs -o ro "$disk" "$folder" || fail "'$1$number' could not be mounted"
        lowerdir=$folder${lowerdir:+:$lowerdir}
        number=$((number + 1))
    done
    [ "$lowerdir" ] || fail "there is no layer of kind '$1'"
}

# mount_files: mount the disk with what the guest writes; make its file system when it boots first
mount_files() {
    await_disk files || return 1
    mount -t ext4 "$disk" /files 2>/dev/null && return
    mount --bind /layers/tools0 /tools
    mount --bind /dev /tools/dev
    chroot /tools /sbin/mke2fs -q -F -t ext4 -m 0 -O '^has_journal' \
        -E lazy_itable_init=1,nodiscard "$disk" || return 1
    umount /tools/dev /tools
    mount -t ext4 "$disk" /files
}

start_network() {
    ip link set eth0 up
    cat >/dhcp <<'END'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
bits=$(/bin/ipcalc -p "$ip" "$subnet")
/bin/ip address add "$ip/${bits#*=}" dev "$interface"
[ ! "$router" ] || /bin/ip route add default via "${router%% *}" dev "$interface" onlink
END
    chmod 755 /dhcp
    udhcpc -q -n -t 5 -T 1 -i eth0 -s /dhcp >/dev/null 2>&1 || echo 'postroj: no address'
    # passt learns from requests for addresses whither it leads connections to published ports
    router=$(ip route | sed -n 's/^default via \([^ ]*\).*/\1/p')
    [ ! "$router" ] || arping -q -f -w 2 -I eth0 "$router" || :
}

# serve: start the server in a mount namespace of its own, in which the tools are the root; wait until
# it needs nothing any more of this one, which start_guest takes apart
serve() {
    mkdir -p /tools/run /tools/postroj /tools/layers
    for name in proc sys dev; do mount --rbind "/$name" "/tools/$name"; done
    mount -t tmpfs -o mode=0700 run /tools/run
    mount --bind /given/server /tools/postroj
    mkdir -p /tools/run/files
    mount --rbind /files /tools/run/files
    mkdir -p /tools/run/layers
    mount --rbind /layers /tools/run/layers
    mkdir -p /tools/run/seed
    mount --bind /given/seed /tools/run/seed
    mkfifo /entered
    exec 3<>/entered
    # shellcheck disable=SC2016 # for the shell of the tools
    unshare -m chroot /tools /bin/sh -c 'echo entered >&3; exec "$@" 3>&-' sh \
        /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        PYTHONPATH=/postroj python3 -B -m postroj.machine.server >/dev/console 2>&1 &
    # shellcheck disable=SC3045 # busybox knows it
    read -r -t 60 _ <&3 || fail 'the tools could not be started'
    exec 3>&-
}

start_guest() {
    mount --move /dev /sysroot/dev
    mount --move /proc /sysroot/proc
    mount --move /sys /sysroot/sys
    # shellcheck disable=SC2086
    exec env -i NOTIFY_SOCKET=@postroj/notify /bin/busybox switch_root -c /dev/console /sysroot $init
}

main
