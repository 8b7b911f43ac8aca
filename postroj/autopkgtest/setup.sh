# Makes an image a testbed, like those that autopkgtest builds for its other servers.
# shellcheck shell=sh

# apt knows the source packages of all its repositories
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [ -f "$file" ] && ! grep -q '^deb-src' "$file"; then
        sed -i 's/^deb\([[:blank:]].*\)/&\ndeb-src\1/' "$file"
    fi
done
for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || sed -i 's/^Types:[[:blank:]]*deb[[:blank:]]*$/Types: deb deb-src/' "$file"
done

# autopkgtest would install it for almost every package
command -v dpkg-source >/dev/null || {
    apt-get -o Acquire::Languages=none update
    apt-get install --assume-yes --no-install-recommends dpkg-dev
    apt-get clean
    find /var/lib/apt/lists -type f -delete
}
