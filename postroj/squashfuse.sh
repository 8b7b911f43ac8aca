# squashfuse.sh FILE FOLDER [SERVES]: mount a squashfs in a user namespace, where only FUSE can
#
# With SERVES, make that file as soon as all can be read, and wait for the end of the server.
# shellcheck shell=sh
#
# The server gets no rights: it is opened what it reads and the mount that it serves, as "/dev/fd/N"
# of libfuse 3.3 or newer.

set -eu

exec 3<>/dev/fuse 4<"$1"
mount -i -t fuse.squashfuse -o fd=3,rootmode=40000,user_id=0,group_id=0,ro,nodev,allow_other \
    squashfuse "$2"
setpriv --no-new-privs --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
    --inh-caps=-all -- squashfuse_ll -f -o ro /proc/self/fd/4 /dev/fd/3 >/dev/null &
exec 3>&- # whoever has it open keeps readers waiting for a server that has ended
ls "$2" >/dev/null || {
    umount --lazy "$2"
    exit 1
}
if [ "${3-}" ]; then
    : >"$3"
    wait
fi
