# shellcheck shell=sh
# own.sh CHECKOUT OUT: build the packages of postroj itself, each as its distribution does.
set -eu
checkout=$1
out=$2
export DEB_PYTHON_INSTALL_LAYOUT=deb # not into /usr/local, where Debian's Python puts what is not its own
cd "$checkout"
python3 -m hatchling build -t sdist -d "$out"
version=$(python3 -m hatchling version)
tar -x -C "$out" -f "$out/postroj-$version.tar.gz"

(cd "$out/postroj-$version" && dpkg-buildpackage --no-check-builddeps -b -us -uc)

cat >>/etc/rpm/macros <<'MACROS'
%pyproject_wheel %{__python3} -m build --wheel --no-isolation
%pyproject_install %{__python3} -m installer --destdir=%{buildroot} dist/*.whl
%__python3 /usr/bin/python3
%python3_sitelib /usr/lib/python3/dist-packages
MACROS
for release in 0 1; do
    sed "s/^Release:.*/Release: $release/" "$out/postroj-$version/packages/postroj.spec" >/srv/postroj.spec
    rpmbuild -bb --nodeps --define="_topdir /srv/rpm" --define="_sourcedir $out" \
        --define="_rpmdir $out" --define='_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        /srv/postroj.spec
done

useradd --create-home --home-dir=/srv/arch arch
cp "$out/postroj-$version/packages/PKGBUILD" "$out/postroj-$version.tar.gz" /srv/arch
chown arch: /srv/arch
su arch -c 'cd && PKGEXT=.pkg.tar.zst makepkg --nodeps'
cp /srv/arch/*.pkg.tar.zst "$out"
rm -r "$out/postroj-$version"
