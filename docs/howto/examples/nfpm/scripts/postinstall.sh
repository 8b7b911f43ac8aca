#!/bin/sh
# Debian gives "configure" and the old version, an rpm the number of versions, pacman the version.
set -e
systemctl daemon-reload
case "$1:$2" in
	configure: | 1: | *.*:) systemctl enable --now hello-web ;;
	*) systemctl try-restart hello-web ;;
esac
