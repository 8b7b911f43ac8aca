# shellcheck shell=sh
# Brings dnf, zypper and pacman of Debian to a guest, and for each of them a signed repository of
# packages that claim to be systemd; also sshd, for a guest that is to boot.
set -eux
apt-get -q -o Acquire::Languages=none update
apt-get -q -y --no-install-recommends install \
    createrepo-c dnf gnupg libarchive-tools openssh-server pacman-package-manager rpm zypper
(cd /srv && apt-get -q download makepkg && dpkg -x makepkg_*.deb /) # its functions, for repo-add
apt-get clean

gpg --batch --passphrase '' --quick-generate-key tests ed25519 sign never
rm -r /usr/share/keyrings # where pacman-key of Debian takes all that it finds from
mkdir -p /usr/share/keyrings /srv/rpm /srv/pacman/tree
gpg --export >/usr/share/keyrings/tests.gpg
gpg --with-colons --list-keys |
    sed -n 's/^fpr:*\([0-9A-F]*\):$/\1:4:/p' >/usr/share/keyrings/tests-trusted

cat >/srv/some.spec <<'SPEC'
Name: systemd
Version: 1
Release: 1
Summary: of the tests
License: none
BuildArch: noarch
Recommends: unwanted
%description
of the tests
%package -n dbus
Summary: of the tests
%description -n dbus
of the tests
%package -n dbus-1
Summary: one whose script fails
Provides: /bin/sh
%description -n dbus-1
of the tests
%post -n dbus-1
exit 1
%package -n unwanted
Summary: of the tests
%description -n unwanted
of the tests
%install
mkdir -p %{buildroot}/usr/lib/systemd %{buildroot}/usr/share/doc/systemd
echo brought > %{buildroot}/usr/lib/systemd/systemd
echo brought > %{buildroot}/usr/share/doc/systemd/NEWS
%files
/usr/lib/systemd/systemd
%doc /usr/share/doc/systemd/NEWS
%files -n dbus
%files -n dbus-1
%files -n unwanted
SPEC
rpmbuild -bb --quiet --define '_rpmdir /srv/rpm' /srv/some.spec
createrepo_c -q /srv/rpm
gpg --batch --armor --detach-sign /srv/rpm/repodata/repomd.xml
gpg --armor --export >/srv/rpm/repodata/repomd.xml.key
cat >/srv/local.repo <<'REPO'
[local]
name=local
baseurl=file:///srv/rpm
gpgcheck=0
repo_gpgcheck=1
gpgkey=file:///srv/rpm/repodata/repomd.xml.key
enabled=1
REPO

cd /srv/pacman/tree
mkdir -p usr/lib/systemd usr/share/doc/systemd
echo brought >usr/lib/systemd/systemd
echo brought >usr/share/doc/systemd/NEWS
cat >.PKGINFO <<'INFO'
pkgname = systemd
pkgbase = systemd
pkgver = 1-1
pkgdesc = of the tests
builddate = 1
size = 16
arch = any
license = none
INFO
bsdtar --zstd -cf ../systemd-1-1-any.pkg.tar.zst .PKGINFO usr
cd ..
gpg --batch --detach-sign systemd-1-1-any.pkg.tar.zst
repo-add -q core.db.tar.gz systemd-1-1-any.pkg.tar.zst
gpgconf --kill all
