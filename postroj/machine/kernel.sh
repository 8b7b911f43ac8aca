# Makes the kernel of a guest of its own, in a guest without init that has apt-get:
#
#     /usr/lib/modules/VERSION/vmlinuz   the kernel, as qemu starts it
#     /usr/lib/modules/VERSION/initrd    busybox, some modules, and init.sh from stdin as /init
#     /usr/lib/modules/VERSION/*         all modules
#
# kernel.sh PACKAGE...: the first of these packages that the distribution has, or what it depends on
# shellcheck shell=sh
set -eu
umask 022

# What the initrd needs to find the disks and to mount the root file system; others are dependencies.
MODULES='virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_rng squashfs overlay'

# busybox is linked statically, since the initrd has no libraries.
TOOLS='busybox-static cpio kmod xz-utils'

main() {
    export DEBIAN_FRONTEND=noninteractive
    build=$(mktemp -d)
    cd "$build"
    cat >init
    apt-get -qq -o Acquire::Languages=none update
    # shellcheck disable=SC2086
    apt-get install -qq --yes --no-install-recommends $TOOLS
    package=$(choose "$@")
    # shellcheck disable=SC2046
    apt-get download $(parts "$package")
    for deb in *.deb; do dpkg-deb --extract "$deb" unpacked; done
    modules=$(echo unpacked/lib/modules/* unpacked/usr/lib/modules/*)
    for folder in $modules; do
        [ ! -d "$folder" ] || found=$folder
    done
    version=${found##*/}
    home=/usr/lib/modules/$version
    mkdir -p /usr/lib/modules
    mv "$found" "$home"
    mv "unpacked/boot/vmlinuz-$version" "$home/vmlinuz"
    rm -f "$home/build" "$home/source"
    [ -e /lib/modules ] || ln -s /usr/lib/modules /lib/modules # /lib is a folder of its own
    depmod "$version"
    make_initrd
}

# choose PACKAGE...: print the first package that is not only a name
choose() {
    for package; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    echo "this distribution has none of these packages: $*" >&2
    exit 1
}

# parts PACKAGE: print the packages with the kernel and its modules, on which a metapackage depends
parts() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "$1" |
        sed -n 's/^\(linux-\(image\|modules\|binary\)-\(unsigned-\)\?[0-9].*\)$/\1/p' | sort -u
}

make_initrd() {
    mkdir -p initrd/bin initrd/modules
    cp /bin/busybox initrd/bin/busybox
    mv init initrd/init
    chmod 755 initrd/init
    for module in $MODULES; do
        # `builtin NAME` or `insmod PATH`, dependencies first
        modprobe --set-version "$version" --show-depends "$module" || :
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' >all
    awk '!seen[$0]++' all >ordered
    while read -r path; do
        name=${path##*/}
        case $name in
            *.xz) xz --decompress --stdout "$path" >"initrd/modules/${name%.xz}" ;;
            *.zst) zstd --decompress --quiet --stdout "$path" >"initrd/modules/${name%.zst}" ;;
            *.gz) gzip --decompress --stdout "$path" >"initrd/modules/${name%.gz}" ;;
            *) cp "$path" "initrd/modules/$name" ;;
        esac
        name=${name%.xz} name=${name%.zst}
        echo "${name%.gz}" >>initrd/modules/order
    done <ordered
    (cd initrd && find . | cpio --create --format=newc --quiet) | gzip -1 >"$home/initrd"
}

main "$@"
