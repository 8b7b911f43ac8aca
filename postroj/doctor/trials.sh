# trials.sh TRIAL FOLDER WORD...: do what a guest needs, and fail if this host cannot.
#
# FOLDER has an empty folder `mounted`. facts.py runs this in namespaces that take the mounts, the
# loop devices and the processes with them.
# shellcheck shell=sh

set -eu

trial=$1
cd "$2"
shift 2

case $trial in
    squashfs) # FOLDER has a squashfs `image`
        mount -t squashfs -o loop,ro image mounted
        ;;
    squashfuse) # WORD is the script that mounts it
        sh "$1" image mounted
        ;;
    map-owners) # WORD... is the command that maps the owners of `mounted`
        mount -t squashfs -o loop,ro image mounted
        "$@"
        mkdir other
        mount -t overlay -o lowerdir=mounted:other overlay mounted
        ;;
    overlay | overlay-on-disk) # WORD is its options
        [ "$trial" = overlay-on-disk ] || mount -t tmpfs tmpfs mounted
        cd mounted
        mkdir lower upper work merged
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,"$1" overlay merged
        ;;
    pasta) # which serves until the namespaces end
        mount -t tmpfs tmpfs mounted
        : >mounted/netns
        unshare "--net=$PWD/mounted/netns" true
        pasta --quiet --config-net --runas 0 --netns "$PWD/mounted/netns"
        ;;
    *)
        exit 2
        ;;
esac
