#!/bin/sh
# Installs the peers that `npm run bench:compare` measures beside penstock, and the PostgreSQL behind them: Debian's packages,
# without starting any of their services. Needs root. What is missing is left out of the comparison, which says so.
set -eu

packages='haproxy nginx libnginx-mod-stream stunnel4 hitch postgresql'

# A package's scripts ask this file whether they may start the service (101: no).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
else
  echo "note: $policy exists already and decides whether the services start" >&2
fi

apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
# shellcheck disable=SC2086
dpkg-query -W $packages
