/** The programs that the tests against real services need: where they are, and how to get them. */
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

/** Debian's packages with all of them. */
const packages =
  'postgresql pgbouncer redis-server redis-tools mosquitto mosquitto-clients haproxy nginx libnginx-mod-stream gnutls-bin openssl curl chromium prometheus bsdutils zsh fish systemd perl testssl.sh sslscan mariadb-server mariadb-client slapd ldap-utils prosody lua-unbound ejabberd dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-managesieved swaks libnet-ssleay-perl freetds-bin stunnel4 nats-server openssh-server openssh-client rabbitmq-server amqp-tools postfix socat ncat gcc libc6-dev libssl-dev libgnutls28-dev libnss3-dev libnss3-tools libmbedtls-dev libwolfssl-dev openjdk-17-jdk-headless golang-go golang-github-go-sql-driver-mysql-dev libmariadb-java php-cli php-mysql python3-pymysql erlang-base erlang-ssl python3 etcd-server etcd-client iproute2 patroni python3-etcd';

/** How to install them, and what is needed of npm besides this project's own dependencies. */
export const installHint = `apt-get install ${packages}; npm ci --prefix test/services/npm`;

const postgres = ['initdb', 'postgres', 'psql'];

const tlsStacks = [
  ...['openssl', 'gcc', 'openssl/ssl.h', 'gnutls/gnutls.h', 'mbedtls/ssl.h', 'wolfssl/ssl.h'],
  ...['nss/ssl.h', 'certutil', 'pk12util', 'python3', 'java', 'javac', 'go', 'escript', 'dpkg-query'],
];

/** What each test file needs. */
export const neededBy: Readonly<Record<string, readonly string[]>> = {
  'psql-works-in-three-modes': postgres,
  'ctrl-c-cancels-the-query': [...postgres, 'pgbouncer'],
  'a-copy-arrives-whole': postgres,
  'pg-connects-by-request-and-directly': postgres,
  'postgres-health-is-what-the-server-says': postgres,
  'warm-connections-suit-real-servers': [...postgres, 'mariadb-install-db', 'mariadbd', 'mariadb'],
  'redis-works-over-mutual-tls': ['redis-server', 'redis-cli'],
  'mosquitto-works-over-mutual-tls': ['mosquitto', 'mosquitto_pub', 'mosquitto_sub'],
  'proxy-headers-are-those-of-haproxy-and-nginx': ['haproxy', 'nginx', 'ngx_stream_module.so'],
  'socat-and-ncat-work-on-either-side': ['socat', 'ncat', 'sha256sum', 'cat'],
  'haproxy-and-nginx-speak-tls-on-either-side': ['haproxy', 'nginx', 'ngx_stream_module.so'],
  'haproxy-and-its-import-route-alike': ['haproxy'],
  'haproxy-and-its-import-agree-on-a-corpus': ['haproxy'],
  'haproxy-and-its-import-choose-certificates-alike': ['haproxy'],
  'nginx-and-its-import-route-alike': ['nginx', 'ngx_stream_module.so'],
  'openssl-takes-what-is-stapled': ['openssl'],
  'what-pki-makes-is-good-for-openssl-and-gnutls': ['openssl', 'certtool'],
  'probe-agrees-with-real-servers': [...postgres, 'openssl', 'gnutls-serv'],
  'recipes-for-postgres-work': postgres,
  'recipes-for-patroni-work': [...postgres, 'pg_controldata', 'patroni', 'etcd'],
  'recipes-for-redis-work': ['redis-server', 'redis-cli'],
  'recipes-for-mosquitto-work': ['mosquitto', 'mosquitto_pub', 'mosquitto_sub'],
  'the-demo-has-mysql-where-mariadb-is-installed': ['mariadb-install-db', 'mariadbd', 'mariadb'],
  'recipes-for-mariadb-work': ['mariadb-install-db', 'mariadbd', 'mariadb'],
  'recipes-for-ldap-work': ['slapd', 'ldapsearch', 'ldapwhoami', 'npm:ldapts', 'java'],
  'recipes-for-xmpp-work': ['prosody', 'prosodyctl', 'openssl'],
  'xmpp-clients-and-servers-begin-tls': ['prosody', 'prosodyctl', 'lunbound.so', 'npm:@xmpp/client'],
  'stunnel-asks-for-tls-on-either-side': ['stunnel'],
  'sql-server-clients-begin-tls-within-tds': ['npm:tedious', 'tsql'],
  'recipes-for-sql-server-work': ['npm:tedious', 'tsql', 'openssl'],
  'recipes-for-mail-work': [
    ...['dovecot', 'pop3', 'lmtp', 'managesieve', 'postfix', 'postconf', 'curl', 'openssl', 'swaks'],
    ...['Net/SSLeay.pm', 'npm:nodemailer'],
  ],
  'mail-programs-begin-tls-by-starttls': [
    ...['dovecot', 'pop3', 'lmtp', 'managesieve', 'curl', 'openssl', 'npm:imapflow', 'npm:nodemailer'],
  ],
  'recipes-for-rabbitmq-work': ['rabbitmq-server', 'epmd', 'amqp-declare-queue', 'amqp-publish', 'amqp-get'],
  'mysql-health-checks-shut-nobody-out': ['mariadb-install-db', 'mariadbd', 'mariadb'],
  'mysql-clients-reach-their-server-by-name': ['mariadbd', 'mariadb'],
  'ctrl-c-kills-the-query-in-mysql': ['mariadb-install-db', 'mariadbd', 'mariadb'],
  'mysql-dumps-arrive-whole': ['mariadb-install-db', 'mariadbd', 'mariadb', 'mariadb-dump'],
  'mysql-clients-of-every-kind-log-in': [
    ...['mariadb', 'java', '/usr/share/java/mariadb-java-client.jar', 'go', 'php', '/usr/bin/python3'],
  ],
  'nats-works-behind-either-beginning-of-tls': ['nats-server'],
  'recipes-for-nats-work': ['nats-server', 'openssl'],
  'recipes-for-ssh-work': ['sshd', 'ssh-keygen', 'ssh', 'curl'],
  'testssl-finds-no-weakness': ['testssl'],
  'scanners-see-mozillas-profile': ['sslscan', 'openssl', 'gnutls-cli'],
  'refused-clients-name-the-alert': [
    'openssl',
    'gnutls-cli',
    'tstclnt',
    'certutil',
    'pk12util',
    'javac',
    'go',
    'python3',
  ],
  'java-reads-its-alert': ['java'],
  'clients-are-told-why': ['openssl', 'gnutls-cli', 'curl'],
  'tls-stacks-see-what-they-should': tlsStacks,
  'tls-stacks-resume-each-time': tlsStacks,
  'shells-complete-what-is-typed': ['zsh', 'fish'],
  'logger-brings-lines-to-syslog': ['logger', 'socat'],
  'the-live-page-does-what-is-confirmed': ['chromium'],
  'the-live-page-shows-what-status-says': ['chromium'],
  'alerts-fire-when-they-should': ['promtool'],
  'top-redraws-in-a-terminal': ['script'],
  'machines-serve-what-etcd-holds': ['etcd', 'etcdctl'],
  'a-limit-holds-across-machines': ['etcd', 'etcdctl'],
  'requests-to-one-machine-are-live-on-all': ['etcd', 'etcdctl'],
  'authors-change-a-cluster-by-commands': ['etcd', 'etcdctl'],
  'a-cluster-outlives-what-happens-to-etcd': ['etcd', 'etcdctl'],
  'three-machines-serve-as-one': ['etcd', 'etcdctl', 'openssl', 'ip', 'unshare', 'setsid'],
  'a-watch-loses-nothing': ['etcd', 'etcdctl'],
  'an-apisix-etcd-serves-as-apisix-did': ['etcd', 'etcdctl'],
  'curl-manages-tenants': ['curl', 'openssl'],
  'low-ports-need-no-root': ['setpriv', 'systemd-socket-activate'],
  'systemd-understands-penstock': ['systemd-analyze', 'systemd-notify', 'systemd-socket-activate', 'perl'],
};

/** The path of a program or module; undefined if it isn't installed. */
export function find(name: string): string | undefined {
  if (isAbsolute(name)) return isReadable(name) ? name : undefined;
  if (name.startsWith(ofNpm)) return find(join(npmDirectory, 'node_modules', name.slice(ofNpm.length)));
  if (name.startsWith(unpacked)) {
    return listed(process.env['PENSTOCK_UNPACKED'])
      .map((root) => join(root, name.slice(unpacked.length)))
      .find(isReadable);
  }
  return directories()
    .map((directory) => join(directory, name))
    .find(isReadable);
}

/** How to start a program that has to be there: its path, or for an unpacked one the loader and libraries that it came with. */
export function commandLine(name: string): readonly [string, ...string[]] {
  const path = program(name);
  const root = name.startsWith(unpacked) ? rootOf(path) : undefined;
  if (root === undefined) return [path];
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
  return [join(libraries, 'ld-linux-x86-64.so.2'), '--library-path', libraries, path];
}

/** The root that such a program was unpacked to. */
export function rootOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/usr/'));
}

/**
 * In front of a path: a program of a newer Debian, for which its packages and those of its libraries, libc6 among them, were unpacked
 * (`apt-get download`, `dpkg -x`) to one of the folders that PENSTOCK_UNPACKED lists.
 */
const unpacked = 'unpacked:';

/** In front of a package's name: one that was installed to npm/. */
const ofNpm = 'npm:';

/** What is installed from npm for these tests alone, and the programs that use it. */
export const npmDirectory: string = join(import.meta.dirname, 'npm');

/** The path of a program that has to be there. */
export function program(name: string): string {
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not installed: ${installHint}`);
  return path;
}

/**
 * Debian keeps servers where ordinary users don't look for them, and PostgreSQL's by version. Its rabbitmq-server in /usr/sbin is a
 * wrapper that runs the real one with the system's log. Headers of libraries are looked for, too.
 */
function directories(): string[] {
  return [
    '/usr/lib/rabbitmq/bin',
    ...listed(process.env['PATH']),
    '/usr/sbin',
    ...postgresDirectories(),
    '/usr/lib/nginx/modules',
    '/usr/include',
    '/usr/lib/dovecot',
    '/usr/lib/x86_64-linux-gnu/lua/5.4',
    '/usr/lib/x86_64-linux-gnu/perl5/5.36',
  ];
}

function listed(value: string | undefined): string[] {
  return (value ?? '').split(delimiter).filter((directory) => directory !== '');
}

function postgresDirectories(): string[] {
  const root = '/usr/lib/postgresql';
  if (!isReadable(root)) return [];
  const newestFirst = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return newestFirst.map((version) => join(root, version, 'bin'));
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
