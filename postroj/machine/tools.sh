# Makes the tools that serve a guest with a kernel of its own, in a guest of Debian without init.
# shellcheck shell=sh
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Languages=none update
apt-get install -qq --yes --no-install-recommends e2fsprogs openssh-server python3 util-linux
# whoever can open the guest's channel may do everything in the guest already
passwd --delete root >/dev/null
mkdir -p /run/sshd
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
