# Functions that make an image bootable. /bin/sh runs them in the image; postroj/prepare.py chooses.
# Each prints a line beginning with `did: ` for every change, and can be repeated without harm.
# shellcheck shell=sh

set -eu

did() { echo "did: $*"; }

# comment_out WHAT PATTERN FILE...: comment out lines that match an extended regular expression
comment_out() {
    what=$1 pattern=$2
    shift 2
    for file; do
        if [ -f "$file" ] && grep -Eq "$pattern" "$file"; then
            sed -Ei "s,$pattern,# &," "$file"
            did "commented out in $file: $what"
        fi
    done
}

# mask UNIT...: mask the units that exist; a unit that a package installs later is not masked
mask() {
    for unit; do
        for folder in /usr/lib/systemd/system /lib/systemd/system; do
            if [ -e "$folder/$unit" ] && ! [ -e "/etc/systemd/system/$unit" ] &&
                ! [ -L "/etc/systemd/system/$unit" ]; then
                mkdir -p /etc/systemd/system
                ln -s /dev/null "/etc/systemd/system/$unit"
                did "masked $unit"
            fi
        done
    done
}

mend() {
    # Container images forbid services to start.
    if [ -e /usr/sbin/policy-rc.d ]; then
        rm /usr/sbin/policy-rc.d
        did removed /usr/sbin/policy-rc.d
    fi
    # They also mask units that a guest needs. Units that would only wait stay masked.
    for link in /etc/systemd/system/*; do
        case $link in
            *firstboot* | *wait-online* | */cloud-* | */snapd*) continue ;;
        esac
        if [ "$(readlink "$link" || true)" = /dev/null ]; then
            rm "$link"
            did "unmasked ${link##*/}"
        fi
    done
    # These would wait forever, for a network of NetworkManager, a cloud, a store.
    mask NetworkManager-wait-online.service snapd.service snapd.socket snapd.seeded.service
    if [ -d /etc/cloud ] && ! [ -e /etc/cloud/cloud-init.disabled ]; then
        : >/etc/cloud/cloud-init.disabled
        did disabled cloud-init
    fi
    # Machine images mount their own disks, and rely on cloud-init to create ssh host keys.
    comment_out "disks and servers that a guest does not have" \
        '^[[:space:]]*(/dev/|[A-Z]+=|//|[^#/[:space:]]+:)|^[^#]*[[:space:]](/|swap|9p|virtiofs)[[:space:]]' \
        /etc/fstab
    if [ -x /usr/sbin/sshd ] && command -v ssh-keygen >/dev/null &&
        ! ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1; then
        ssh-keygen -A >&2
        did made the host keys of ssh
    fi
    # Packages must install all of their files, even those that images omit to be small.
    small="files of packages that are left out to be small"
    comment_out "$small" '^path-exclude' /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*
    comment_out "$small" '^tsflags *=.*nodocs' /etc/dnf/dnf.conf /etc/yum.conf
    comment_out "$small" '^%_excludedocs +1' /etc/rpm/macros /etc/rpm/macros.*
    comment_out "$small" '^rpm\.install\.excludedocs *= *yes' \
        /etc/zypp/zypp.conf /etc/zypp/zypp.conf.d/*
    comment_out "$small" '^NoExtract' /etc/pacman.conf
}

mend_pacman() {
    # Its sandbox needs features that some kernels lack and that a container may not use.
    if pacman --sync --help | grep -q disable-sandbox &&
        ! grep -q '^DisableSandbox' /etc/pacman.conf; then
        sed -i '/^\[options\]/a DisableSandbox' /etc/pacman.conf
        did set DisableSandbox in /etc/pacman.conf
    fi
    if ! [ -s /etc/pacman.d/gnupg/pubring.gpg ] && ! [ -s /etc/pacman.d/gnupg/pubring.kbx ]; then
        pacman-key --init >&2
        pacman-key --populate >&2 || true # an image may ship no keys, and check no signatures
        did made the keyring of pacman
    fi
    if ! grep -qs '^Server' /etc/pacman.d/mirrorlist &&
        grep -qs '^#Server' /etc/pacman.d/mirrorlist; then
        sed -i '0,/^#Server/s//Server/' /etc/pacman.d/mirrorlist
        did chose the first mirror of pacman
    fi
}

install_apt() {
    apt-get -q -o Acquire::Languages=none update
    apt-get -q -y --no-install-recommends install "$@"
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

# Without weak dependencies, which nobody asked for; yum has none.
install_dnf() {
    if command -v dnf >/dev/null; then
        dnf -y --setopt=install_weak_deps=0 install "$@"
        dnf -y clean all
    elif command -v microdnf >/dev/null; then
        microdnf -y --setopt=install_weak_deps=0 install "$@"
        microdnf -y clean all
    else
        yum -y install "$@"
        yum -y clean all
    fi
}

install_zypper() {
    # one of several repositories may be unreachable
    zypper --non-interactive --gpg-auto-import-keys refresh || true
    # zypper(8): reboot needed, restart of zypper needed, repository skipped, scriptlet failed
    zypper --non-interactive --gpg-auto-import-keys install --no-recommends "$@" ||
        case $? in
            102 | 103 | 106 | 107) ;;
            *) return 1 ;;
        esac
    zypper --non-interactive clean --all
}

# Upgrades everything, because Arch does not support partial upgrades.
install_pacman() {
    pacman -Syu --noconfirm --needed "$@"
    rm -rf /var/cache/pacman/pkg/* /var/lib/pacman/sync/*
}

# Some managers report success although a repository was unreachable.
see_systemd() {
    if ! [ -e /usr/lib/systemd/systemd ] && ! [ -e /lib/systemd/systemd ]; then
        echo "the package manager reported success, but systemd is not installed" >&2
        return 1
    fi
}
