# Starts qemu for a guest with a kernel of its own, and lives while postroj does.
#
# machine.sh NAME=VALUE... -- GROUP... -- PASST... -- QEMU... -- SSH...
#
# GROUP are files of control groups to join. QEMU, PASST and SSH are commands; PASST may be missing.
# qemu.py has these arguments.
#
# stdin is the lifeline: it ends when postroj lets go of it, however postroj ends. A guest that is
# kept gets the word `keep` before that, and lives until qemu or this script ends. stdout gets
# `ended` when the machine ended by itself. If a part of the guest is killed, all of it ends and
# stdout gets nothing. stderr is the guest's console log.
# shellcheck shell=sh

# shellcheck source=postroj/container/boot/shared.sh
. "${0%/*}/../container/boot/shared.sh"

set -eu
umask 077
# a kept guest has nobody who reads stdout
trap '' PIPE

run_dir=  # of the guest
size=     # bytes of the disk with all that the guest writes

# The exit status tells qemu.py which step failed.
DISK=61 NETWORK=63 CGROUP=64 MAIMED=67

main() {
    trap 'exit $MAIMED' USR1
    trap 'exit $NETWORK' USR2
    while [ "$1" != -- ]; do
        case $1 in
            run_dir=*) run_dir=${1#*=} ;;
            size=*) size=${1#*=} ;;
            *) exit 2 ;;
        esac
        shift
    done
    shift
    while [ "$1" != -- ]; do
        echo 0 >"$1" || exit $CGROUP
        shift
    done
    shift
    mount -t tmpfs -o "size=$size,mode=0700" tmpfs "$run_dir/mnt" || exit $DISK
    truncate --size="$size" "$run_dir/mnt/files" || exit $DISK
    cd "$run_dir"
    if [ "$1" != -- ]; then words serve_network "$@" & fi
    while [ "$1" != -- ]; do shift; done
    shift
    boot "$@" 3>&2 &
    guest=$!
    if read -r word && [ "$word" = keep ]; then
        wait $guest || :
    fi
}

# serve_network PASST...: a guest does not outlive its network, or failures for want of one would be
# held against a package
serve_network() {
    "$@" 2>/dev/null || :
    kill -USR2 $$
}

# boot QEMU... -- SSH...: run the machine to its end, with its console at descriptor 3
boot() {
    run_machine "$@" | log_console
    read -r reason <ending
    case $reason in
        guest-*) echo ended ;;
        *) kill -USR1 $$ ;;
    esac
}

# run_machine QEMU... -- SSH...: as often as the guest reboots, after which qemu starts anew. The
# file `ending` has the reason of the last end as qemu has it, `guest-reset` for example. It stays
# while the guest boots again, for those who ask why it has ended. `boots` has the number of boots.
run_machine() {
    boots=0
    while
        boots=$((boots + 1))
        echo $boots >boots
        rm -f ssh answers line
        for pipe in monitor.in monitor.out; do
            [ -p $pipe ] || mkfifo $pipe
        done
        # open them for both directions, or others would wait for ever for a qemu that ends at once
        # shellcheck disable=SC2094
        exec 4<>monitor.out 5<monitor.out 6<>monitor.in
        (
            exec 4>&- 6>&- <&5
            hear_monitor
        ) >&2 &
        monitor=$!
        exec 5<&-
        echo '{"execute": "qmp_capabilities"}' >&6
        lead_in "$@" &
        words run_qemu "$@" </dev/null 4>&- 6>&- || :
        exec 4>&- 6>&-
        wait $monitor || :
        read -r reason <ending
        [ "$reason" = guest-reset ]
    do :; done
}

# lead_in QEMU... -- SSH...: ssh ends with the guest's side, unless it is killed; begin anew if it ends
# before it has led anybody in
lead_in() {
    exec </dev/null >&2 4>&- 6>&- # for this shell, too, or the console would have no end
    while [ "$1" != -- ]; do shift; done
    shift
    run_ssh "$@"
    while [ ! -e answers ] && [ "$(cat boots)" = $boots ]; do
        sleep 0.1
        run_ssh "$@" 2>/dev/null # once qemu has ended, nobody listens
    done
}

run_ssh() {
    status=0
    "$@" || status=$?
    [ $status -le 128 ] || [ $status = 255 ] || kill -USR1 $$
}

run_qemu() {
    until [ ! -d net ] || [ -S net/passt ]; do sleep 0.01; done
    "$@"
}

# hear_monitor: note why qemu ends; QMP sends an object a line, and nothing if qemu is killed
hear_monitor() {
    sed -n 's/.*"event": "SHUTDOWN".*"reason": "\([a-z-]*\)".*/\1/p' >reason
    [ -s reason ] || echo killed >reason
    mv reason ending
}

main "$@"
