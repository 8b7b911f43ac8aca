# shellcheck shell=sh
# Download the named packages without their dependencies to /srv; name those that are not available.
set -eu
apt-get --quiet --error-on=any update >&2
mkdir /tmp/debs
cd /tmp/debs
for name; do
	if apt-get --quiet --option=APT::Sandbox::User=root download "$name" >&2; then
		for deb in *.deb; do
			mv "$deb" "/srv/$deb.part"
			mv "/srv/$deb.part" "/srv/$deb"
		done
	else
		echo "$name is not available" >&2
	fi
done
