#!/bin/sh
set -e
case "$1" in
	upgrade | 1) ;; # the next version restarts it
	*) systemctl disable --now hello-web ;;
esac
