#!/usr/bin/env bash
# Guess: a load generator none of whose clients gets a connection fails: mariadb-slap ends with an exit code other than 0, as it does when its
# own first connection is refused.
# Seen: with --query and a database that does not exist (its default, `mysqlslap`, is only made for queries that it writes itself) every client is
# refused with error 1049, and it prints timings, as if all queries had been made, and ends with 0. Whoever measures by it should count the
# server's `Questions`.
# Versions: Debian 12's mariadb-client and mariadb-server 1:10.11.19-0+deb12u1. 29 November 2026.
# Source: run_task in client/mysqlslap.c of MariaDB 10.11 (a thread that cannot connect goes to its end, and no one asks how that came).
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; }; rm -rf "$folder"' EXIT
for package in mariadb-server mariadb-client; do
  dpkg -s "$package" >/dev/null 2>&1 || apt-get install -y -q --no-install-recommends "$package=1:10.11.19-0+deb12u1"
done
user=()
[ "$(id -u)" != 0 ] || user=(--user=root)
mariadb-install-db --no-defaults --datadir="$folder/data" --auth-root-authentication-method=normal --skip-test-db "${user[@]}" >/dev/null
/usr/sbin/mariadbd --no-defaults --datadir="$folder/data" --socket="$folder/s" --pid-file="$folder/pid" --skip-networking "${user[@]}" \
  2>"$folder/log" &
server=$!
for _ in $(seq 100); do
  mariadb-admin --no-defaults --socket="$folder/s" --user=root ping >/dev/null 2>&1 && break
  sleep 0.1
done
questions() {
  mariadb --no-defaults --socket="$folder/s" --user=root --skip-column-names -e "show global status like 'Questions'" | cut -f2
}
before=$(questions)
code=0
mariadb-slap --no-defaults --socket="$folder/s" --user=root --query='select 1' --concurrency=4 --number-of-queries=400 \
  >"$folder/said" 2>&1 || code=$?
asked=$(($(questions) - before))
echo "exit code $code, $(grep -c 'error 1049\|: 1049 ' "$folder/said") refusals, the server was asked $asked times"
[ "$code" = 0 ] && [ "$(grep -c 1049 "$folder/said")" = 4 ] && [ "$asked" -lt 10 ]
