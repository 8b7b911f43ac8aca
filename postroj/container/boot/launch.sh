# Sets a guest up in mount and PID namespaces of its own, starts nspawn, and lives while postroj does.
#
# launch.sh NAME=VALUE... -- LAYER... -- READ_AHEAD... -- GROUP... -- MAP... -- PASTA... -- NSPAWN...
#
# LAYER are squashfs files, the image first; GROUP files of control groups to join. READ_AHEAD, MAP,
# PASTA and NSPAWN are commands, all but the last may be missing. launch.py has these arguments.
#
# stdin is the lifeline: it ends when postroj lets go of it, however postroj ends. A guest that is
# kept gets the word `keep` before that, and lives until nspawn or this script ends. stdout gets
# `ended` when nspawn ended with its guest. If a part of the guest is killed, all of it ends and
# stdout gets nothing. stderr is the guest's console log, $NOTIFY_SOCKET is told of the network.
# shellcheck shell=sh

# shellcheck source=postroj/container/boot/shared.sh
. "${0%/*}/shared.sh"

set -eu
umask 022

run_dir=    # of the guest
size=       # bytes of the tmpfs with all that the guest writes
disk=       # folder on disk that takes its place; or ''
lowerdir=   # of the overlay, relative to the tmpfs: a colon or a comma in a path would need escapes
overlay=    # options of the overlay
fuse=       # script that mounts a layer where only FUSE can, as without root of the host; or ''
os_release= # text that nspawn shows to the guest as the host's
network=    # `first` if pasta's namespace is made before the guest, `own` if nspawn makes it; or ''
divided=    # the guest's group of cgroup v2, whose processes are in groups below it; '' without one
base=       # number of the guest's root on the host; '' if it is the host's root
read_only=  # not '' if nspawn makes the root file system read-only, after which /var is mounted again

# The exit status tells launch.py which step failed.
MOUNT_IMAGE=61 MOUNT_OVERLAY=62 NETWORK=63 CGROUP=64 USERS=65 LINKS=66 MAIMED=67
# nspawn ends so when its guest reboots; it is made for RestartForceExitStatus= of a service.
REBOOTED=133
NETWORK_UP=X_POSTROJ_NETWORK=up

main() {
    trap 'exit $MAIMED' USR1
    trap 'exit $NETWORK' USR2
    trap 'exit $CGROUP' ALRM
    while [ "$1" != -- ]; do
        case $1 in
            run_dir=*) run_dir=${1#*=} ;;
            disk=*) disk=${1#*=} ;;
            size=*) size=${1#*=} ;;
            lowerdir=*) lowerdir=${1#*=} ;;
            overlay=*) overlay=${1#*=} ;;
            fuse=*) fuse=${1#*=} ;;
            os_release=*) os_release=${1#*=} ;;
            network=*) network=${1#*=} ;;
            divided=*) divided=${1#*=} ;;
            base=*) base=${1#*=} ;;
            read_only=*) read_only=${1#*=} ;;
            *) exit 2 ;;
        esac
        shift
    done
    shift

    # outside of the guest's control group, in which no loop device can be opened
    mount_below "$@" &
    below=$!
    while [ "$1" != -- ]; do shift; done
    shift
    while [ "$1" != -- ]; do shift; done
    shift
    while [ "$1" != -- ]; do
        echo 0 >"$1" || exit $CGROUP # the first takes the kernel 5 to 20 ms
        shift
    done
    shift
    if [ "$divided" ]; then hand_down; fi
    wait $below || exit $?
    cd "$run_dir/mnt"
    if [ "$fuse" ]; then keep_links; fi

    if [ "$1" != -- ]; then words map_owners "$@"; fi
    while [ "$1" != -- ]; do shift; done
    shift
    if [ "$network" = first ]; then words serve_network "$@" & fi

    mount -t overlay -o "lowerdir=$lowerdir,upperdir=upper,workdir=work,$overlay" \
        overlay root || exit $MOUNT_OVERLAY
    # nspawn 252 writes files to /run, and follows a link there to the host
    for name in dev proc run sys; do
        [ ! -L "root/$name" ] || exit $LINKS
    done
    if [ "$read_only" ]; then
        [ ! -L root/var ] || exit $MOUNT_OVERLAY # it would lead to a folder of the host
        mkdir var
        mount --bind root/var var || exit $MOUNT_OVERLAY
    fi
    boot "$@" 3>&2 &
    guest=$!
    if read -r word && [ "$word" = keep ]; then
        wait $guest || :
    fi
}

# mount_below LAYER... -- READ_AHEAD... -- ...: mount what the guest's root is made of, and over what
# belongs to the host and nspawn would use. The guest's files lie in memory, with as many inodes as
# they need, as on a disk.
mount_below() {
    if [ "$disk" ]; then
        mount --bind "$disk" "$run_dir/mnt" || exit $MOUNT_OVERLAY
    else
        mount -t tmpfs -o "size=$size,mode=0755,nr_inodes=0" tmpfs "$run_dir/mnt" || exit $MOUNT_OVERLAY
    fi
    cd "$run_dir/mnt"
    words make_folders "$@"
    mount_layers "$@" &
    layers=$!
    # nspawn leaves empty folders here when it is killed
    [ -d /run/systemd/nspawn ] || mkdir -p /run/systemd/nspawn 2>/dev/null || extend_run
    mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn || exit $MOUNT_OVERLAY
    # nspawn would show the host's own file, and root in the guest could write to it
    printf %s "$os_release" >os-release || exit $MOUNT_OVERLAY
    [ ! -e /etc/os-release ] || mount --bind os-release /etc/os-release || exit $MOUNT_OVERLAY
    if [ "$network" = first ]; then
        { : >netns && unshare --net=netns true; } || exit $NETWORK
    fi
    wait $layers || exit $?
}

# extend_run: add the folder of nspawn to /run/systemd, as seen in here, where only root of the host may
# make it; nspawn and pasta still find the rest
extend_run() {
    mkdir systemd systemd/nspawn
    for path in /run/systemd/*; do
        [ -e "$path" ] || continue
        if [ -d "$path" ]; then
            mkdir "systemd/${path##*/}"
        else
            : >"systemd/${path##*/}"
        fi
        mount --rbind "$path" "systemd/${path##*/}" || :
    done
    mount --rbind systemd /run/systemd || exit $MOUNT_OVERLAY
}

# make_folders LAYER...: of the overlay, and one for each layer
make_folders() {
    count=$# number=0
    set -- upper work root
    while [ "$number" -lt "$count" ]; do
        set -- "$@" "lower$number"
        number=$((number + 1))
    done
    mkdir "$@"
}

# mount_layers LAYER... -- READ_AHEAD... -- ...
mount_layers() {
    number=0
    while [ "$1" != -- ]; do
        mount_layer "$1" "lower$number"
        number=$((number + 1))
        shift
    done
    shift
    if [ "$1" != -- ]; then words exec "$@" >/dev/null 2>&1 & fi
}

# mount_layer FILE FOLDER: where a layer cannot be mounted, unpack it into the tmpfs, and say so by the
# file `unpacked`. The program that reads the layer has no privileges.
mount_layer() {
    mount_squashfs "$1" "$2" 2>../mount || {
        setpriv --no-new-privs --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
            --inh-caps=-all -- sqfs2tar /proc/self/fd/3 3<"$1" |
            tar --extract --numeric-owner --same-owner --same-permissions --xattrs \
                '--xattrs-include=*' ${fuse:+--anchored '--exclude=dev/*'} --directory "$2" &&
            : >../unpacked
    } || {
        cat ../mount >&2
        exit $MOUNT_IMAGE
    }
}

# mount_squashfs FILE FOLDER
mount_squashfs() {
    if [ "$fuse" ]; then
        serve_layer "$1" "$2" &
        server=$!
        until [ -e "../serving-$2" ]; do
            lives $server || return 1
            sleep 0.005
        done
    else
        mount -t squashfs -o loop,ro,nodev "$1" "$2"
    fi
}

# keep_links: copy the links to folders of /usr, which each start of a program follows many times, to
# where the kernel reads them: it does not keep those of FUSE
keep_links() {
    for path in lower0/*; do
        [ ! -L "$path" ] || cp -P "$path" ../seed
    done
}

# serve_layer FILE FOLDER: a guest does not outlive what serves its files, or the failures would be held
# against a package
serve_layer() {
    sh "$fuse" "$1" "$2" "../serving-$2" || :
    [ ! -e "../serving-$2" ] || kill -USR1 $$
}

# map_owners MAP...: give all files that the guest begins with to its own root
map_owners() {
    "$@" || exit $USERS
    chown -R "$base:$base" upper work ../seed || exit $USERS
}

# hand_down: let the groups below the guest's use all of its controllers. That takes a group without
# processes of its own, cgroup-v2.rst. A kernel may refuse one, as `cpu` with realtime processes. If
# there are none, nothing is divided: another group takes the kernel 5 to 20 ms again.
hand_down() {
    controllers=
    read -r controllers <"$divided/cgroup.controllers" || :
    for controller in $controllers; do
        echo "+$controller" >"$divided/cgroup.subtree_control" || :
    done 2>/dev/null
    [ "$controllers" ] || divided=
}

# serve_network PASTA...: serve the namespace `netns`. pasta prints its PID when the network is up. A
# guest does not outlive its network, or failures for want of one would be held against a package.
serve_network() {
    { exec "$@"; } | { read -r _ && systemd-notify --no-block "$NETWORK_UP" 2>/dev/null; } || :
    if [ -e netns ]; then kill -USR2 $$; fi
}

# serve_own_network PASTA... -- ...: serve the namespace that nspawn makes with its guest's users.
# Nothing tells when it is there.
serve_own_network() {
    await_leader || return 0
    : >netns
    if mount --bind "/proc/$leader/ns/net" netns; then
        words serve_network "$@" >&4 3>&- 4>&- &
        server=$!
    elif lives "$nspawn"; then
        kill -USR2 $$
    fi
}

# end_own_network: the guest's next boot has another namespace, and the same ports of the host
end_own_network() {
    umount --lazy netns || :
    rm -f netns
    if [ "$server" ]; then
        read -r children <"/proc/$server/task/$server/children" || :
        for child in $children; do kill "$child" || :; done
        wait "$server" || :
    fi
} 2>/dev/null

# await_leader: set `leader` to the guest's init once it has left the host's network, and fail if
# nspawn ends before
await_leader() {
    while lives "$nspawn"; do
        read -r children <"/proc/$nspawn/task/$nspawn/children" || :
        for leader in $children; do
            if is_init "$leader" && [ "$(network_of "$leader")" != "$(network_of $$)" ]; then
                return 0
            fi
        done
        sleep 0.01
    done
    return 1
}

# lives CHILD: whether a child of this shell has not ended
lives() {
    read -r _ _ state _ <"/proc/$1/stat" && [ "$state" != Z ]
}

# network_of PID: print the network namespace of a process
network_of() {
    readlink "/proc/$1/ns/net"
}

# is_init PID: whether a process is PID 1 of another namespace
is_init() {
    grep -qs '^NSpid:.*[[:blank:]].*[[:blank:]]1$' "/proc/$1/status"
}

# boot PASTA... -- NSPAWN...: run the guest to its end, with its console at descriptor 3
boot() {
    run_nspawn "$@" | log_console
    read -r status <../status
    # the guest's init may end with any status, too; 255 is an init that crashed, EXIT_EXCEPTION
    if [ "$status" -gt 128 ] && [ "$status" -lt 193 ] && orphaned; then
        kill -USR1 $$
    else
        echo ended
    fi
}

# run_nspawn PASTA... -- NSPAWN...: as often as the guest reboots, which ends nspawn with
# `--keep-unit`; the file `status` has the last status. stdout is the console.
run_nspawn() {
    exec 4>&1
    number=0
    while
        number=$((number + 1))
        {
            status=0 server=
            become_nspawn "$number" "$@" </dev/null 2>&1 >&4 3>&- 4>&- &
            nspawn=$!
            if [ "$network" = own ]; then serve_own_network "$@"; fi
            wait $nspawn || status=$?
            if [ "$network" = own ]; then end_own_network; fi
            echo $status >../status
        } | heed_nspawn
        read -r status <../status
        [ "$status" = $REBOOTED ]
    do :; done
}

# become_nspawn NUMBER PASTA... -- NSPAWN...: in a group for this boot. nspawn divides the group in
# which it starts, after which no process can join that, nor the one that its guest has divided.
become_nspawn() {
    if [ "$divided" ]; then
        { mkdir "$divided/$1" && echo 0 >"$divided/$1/cgroup.procs"; } || {
            kill -ALRM $$
            exec sleep 60 # ends with the script
        }
        [ "$1" = 1 ] || find "$divided/$(($1 - 1))" -depth -type d -delete 2>/dev/null || :
    fi
    while [ "$1" != -- ]; do shift; done
    shift
    exec "$@"
}

# heed_nspawn: pass on the words of nspawn itself, to which the guest's console cannot add; the file
# `killed` says that a signal killed its init, which no process in a guest can do
heed_nspawn() {
    while IFS= read -r line; do
        printf '%s\n' "$line"
        if [ "$line" = "Container ${run_dir##*/} terminated by signal KILL." ]; then : >../killed; fi
    done
}

# orphaned: whether a killed nspawn has left us its guest, whose init is PID 1 of another namespace
orphaned() {
    read -r children <"/proc/$$/task/$$/children"
    for child in $children; do
        ! is_init "$child" || return 0
    done
    return 1
}

main "$@"
