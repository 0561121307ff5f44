#!/bin/sh
# Makes the passwords that compose.yaml wants, where they are missing:
#
#   stack/compose/secrets.sh [DIR]
#
# DIR is /etc/faas-gpu/secrets unless said otherwise, by SECRETS_DIR too. Nobody else
# can enter it; the files can be read by whichever user a container has.
set -eu

dir=${1:-${SECRETS_DIR:-/etc/faas-gpu/secrets}}
mkdir -p "$dir"
chmod 700 "$dir"

# secret NAME VALUE: a file, whole or not at all.
secret() {
	[ ! -s "$dir/$1" ] || return 0
	printf %s "$2" >"$dir/.$1.new"
	chmod 644 "$dir/.$1.new"
	mv "$dir/.$1.new" "$dir/$1"
}

random() { od -An -N 16 -t x1 /dev/urandom | tr -d ' \n'; }

secret basic-auth-user admin
secret basic-auth-password "$(random)"
secret grafana-password "$(random)"
echo "$dir"
