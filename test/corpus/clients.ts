/** The clients whose hellos are kept: how to get each to connect, and what its hello shows. */

/** What a recipe may use. */
export type Kit = {
  /** Where the recorder listens, on 127.0.0.1. */
  readonly port: number;
  /** For the client's own files: ca.crt, client.crt and client.key are there, and large-N.crt with its key. */
  readonly directory: string;
  /** Where the clients of npm are installed. */
  readonly modules: string;
};

export type Recipe = {
  readonly client: string;
  /** Prints its version. */
  readonly version: (kit: Kit) => string;
  /** A shell command for each connection, in turn; the last one's hello is kept. */
  readonly run: (kit: Kit) => readonly string[];
  /** What serves: `openssl` for early data. */
  readonly behind?: 'openssl';
  readonly shows: string;
};

const name = 'orders.example.com';

/** By the name of the file. */
export const recipes: Readonly<Record<string, Recipe>> = {
  'openssl-tls10': openssl('-tls1 -cipher ALL@SECLEVEL=0', 'TLS 1.0: no signature algorithms'),
  'openssl-tls11': openssl('-tls1_1 -cipher ALL@SECLEVEL=0', 'TLS 1.1'),
  'openssl-tls12': openssl('-tls1_2', 'TLS 1.2: no supported_versions'),
  'openssl-tls13': openssl('-tls1_3 -alpn postgresql,h2', 'TLS 1.3 alone, two protocols'),
  'openssl-no-sni': openssl('-noservername', 'no server_name', ''),
  'openssl-no-extensions': openssl(
    '-tls1 -noservername -no_ticket -cipher AES128-SHA@SECLEVEL=0 -no_etm',
    'next to no extensions',
    '',
  ),
  'openssl-tls12-ticket': resumedOpenssl('-tls1_2', 'a session ticket of TLS 1.2'),
  'openssl-tls13-ticket': resumedOpenssl('-tls1_3', 'a session ticket of TLS 1.3: a pre-shared key'),
  'openssl-tls12-ticket-15k': resumedOpenssl(
    '-tls1_2',
    'a session ticket with a certificate of 15 KB in it',
    15,
  ),
  'openssl-tls13-ticket-15k': resumedOpenssl('-tls1_3', 'a pre-shared key of 15 KB', 15),
  'openssl-tls12-ticket-40k': resumedOpenssl('-tls1_2', 'a session ticket of 40 KB: three records', 40),
  'openssl-tls13-ticket-60k': resumedOpenssl(
    '-tls1_3',
    'a pre-shared key near the limit of 64 KiB: four records',
    60,
  ),
  'openssl-early-data': {
    ...resumedOpenssl('-tls1_3', '0-RTT: a pre-shared key, and records of early data behind the hello'),
    run: ({ port, directory }) => [
      sClient(port, `-tls1_3 -sess_out ${directory}/early.session`),
      `echo early > ${directory}/early.txt; ${sClient(port, `-tls1_3 -sess_in ${directory}/early.session -early_data ${directory}/early.txt`)}`,
    ],
    behind: 'openssl',
  },
  'gnutls-tls10': gnutls('NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT', 'TLS 1.0'),
  'gnutls-tls12': gnutls('NORMAL:-VERS-ALL:+VERS-TLS1.2', 'TLS 1.2'),
  'gnutls-tls13': gnutls('NORMAL', 'TLS 1.3, record_size_limit, two protocols', '--alpn=h2 --alpn=http/1.1'),
  'gnutls-resumed': gnutls('NORMAL', 'a pre-shared key, as GnuTLS sends it', '--resume'),
  'gnutls-pfs-ocsp': gnutls('PFS:+GROUP-ALL', 'all of its groups', '--ocsp'),
  'nss-tls10': nss('-V tls1.0:tls1.0', 'TLS 1.0'),
  'nss-tls12': nss('-V tls1.2:tls1.2 -u -G -T', 'TLS 1.2, status_request'),
  'nss-tls13': nss('-V tls1.0:tls1.3 -u -B', 'TLS 1.3, delegated credentials'),
  'nss-ech-grease': nss('-V tls1.2:tls1.3 -i 100', 'ECH GREASE'),
  chromium: chromium('', 'GREASE, ECH GREASE, post-quantum, its extensions in an order of their own'),
  'chromium-tls12': chromium('--ssl-version-max=tls1.2', 'the same without TLS 1.3'),
  'java-keytool': java('', 'Java: TLS 1.3'),
  'java-keytool-tls12': java('-J-Djdk.tls.client.protocols=TLSv1.2', 'Java: TLS 1.2'),
  'java-keytool-tls10': java(
    '-J-Djdk.tls.client.protocols=TLSv1 -J-Djava.security.properties=/dev/fd/3 3<<< jdk.tls.disabledAlgorithms=',
    'Java: TLS 1.0',
  ),
  go: go('', 'Go: crypto/tls'),
  'go-tls12': go('MaxVersion: tls.VersionTLS12,', 'Go: TLS 1.2'),
  'go-resumed': go(
    'ClientSessionCache: tls.NewLRUClientSessionCache(1),',
    'a pre-shared key, as Go sends it',
    2,
  ),
  'node-20': node('node20', 'Node'),
  'node-22': node('node22', 'Node, post-quantum'),
  'node-24': node('node24', 'Node, post-quantum'),
  'node-26': node('node26', 'Node, post-quantum'),
  'node-26-post-quantum': node(
    'node26',
    'ML-KEM in all its forms: a hello of several kilobytes',
    `ecdhCurve: 'MLKEM1024:SecP384r1MLKEM1024:SecP256r1MLKEM768:X25519MLKEM768:MLKEM768:X25519',`,
  ),
  'node-26-resumed': nodeResumed('node26', 'a pre-shared key, as Node sends it'),
  'node-26-tls12': node('node26', 'Node: TLS 1.2', `maxVersion: 'TLSv1.2',`),
  bun: bun('', 'Bun, with BoringSSL'),
  'bun-tls12': bun(`maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'],`, 'Bun: TLS 1.2'),
  'bun-fetch': {
    ...bun('', 'fetch of Bun'),
    run: ({ port, modules }) => [
      `${modules}/.bin/bun -e "await fetch('https://localhost:${port}/', { tls: { rejectUnauthorized: false } }).catch(() => {})"`,
    ],
  },
  'curl-http2': curl('--http2', 'two protocols'),
  'curl-http11-tls12': curl('--http1.1 --tls-max 1.2', 'one protocol, TLS 1.2'),
  'curl-no-alpn': curl('--no-alpn --tlsv1.3', 'no ALPN, TLS 1.3 alone'),
  'psql-sslrequest': {
    client: 'psql',
    version: () => "psql --version | cut -d' ' -f3",
    run: ({ port }) => [
      `psql "host=${name} hostaddr=127.0.0.1 port=${port} user=app sslmode=require connect_timeout=3" -c '' || true`,
    ],
    shows: 'libpq, after its SSLRequest was answered',
  },
  'pg-direct': {
    client: 'pg (npm)',
    version: () => `node -p "require('pg/package.json').version"`,
    run: ({ port }) => [
      nodeCode(
        'node',
        `new (require('pg').Client)({ host: '127.0.0.1', port: ${port}, user: 'app', ssl: { servername: '${name}', rejectUnauthorized: false, ALPNProtocols: ['postgresql'] }, sslnegotiation: 'direct', connectionTimeoutMillis: 2000 }).connect().catch(() => process.exit())`,
      ),
    ],
    shows: 'sslnegotiation=direct: no SSLRequest, the protocol postgresql',
  },
  'python-3': {
    client: 'Python',
    version: () => 'python3 --version',
    run: ({ port }) => [
      `python3 -c "import socket, ssl
c = ssl._create_unverified_context()
c.wrap_socket(socket.create_connection(('127.0.0.1', ${port})), server_hostname='${name}').recv(1)"`,
    ],
    shows: 'the ssl module of Python',
  },
};

function sClient(port: number, options: string, server = `-servername ${name}`): string {
  return `(sleep 0.8; echo Q) | openssl s_client -connect 127.0.0.1:${port} ${server} ${options} || true`;
}

function openssl(options: string, shows: string, server?: string): Recipe {
  return {
    client: 'openssl s_client',
    version: () => 'openssl version',
    run: ({ port }) => [sClient(port, options, server)],
    shows,
  };
}

/** A session that holds the client's certificate of `kilobytes`, if any, used again. */
function resumedOpenssl(options: string, shows: string, kilobytes?: number): Recipe {
  const own = (directory: string): string =>
    kilobytes === undefined
      ? ''
      : `-cert ${directory}/large-${kilobytes}.crt -key ${directory}/large-${kilobytes}.key`;
  return {
    ...openssl(options, shows),
    run: ({ port, directory }) => [
      sClient(port, `${options} ${own(directory)} -sess_out ${directory}/session`),
      sClient(port, `${options} ${own(directory)} -sess_in ${directory}/session`),
    ],
  };
}

function gnutls(priority: string, shows: string, options = ''): Recipe {
  return {
    client: 'gnutls-cli',
    version: () => 'gnutls-cli --version',
    run: ({ port }) => [
      `(sleep 1) | gnutls-cli --insecure --priority='${priority}' --sni-hostname=${name} ${options} -p ${port} 127.0.0.1 || true`,
    ],
    shows,
  };
}

function nss(options: string, shows: string): Recipe {
  return {
    client: 'tstclnt (NSS)',
    version: () => `dpkg-query -W -f 'NSS \${Version}' libnss3`,
    run: ({ port }) => [`(sleep 1) | tstclnt -D -o -h 127.0.0.1 -a ${name} -p ${port} ${options} || true`],
    shows,
  };
}

function chromium(options: string, shows: string): Recipe {
  return {
    client: 'Chromium',
    version: () => 'chromium --version',
    run: ({ port, directory }) => [
      `chromium --headless=new --no-sandbox --disable-gpu --user-data-dir=${directory}/chromium --host-resolver-rules='MAP * 127.0.0.1:${port}' --disable-background-networking --ignore-certificate-errors --timeout=4000 --virtual-time-budget=2000 ${options} --dump-dom https://${name}/ || true`,
    ],
    shows,
  };
}

function java(options: string, shows: string): Recipe {
  return {
    client: 'keytool (Java)',
    version: () => 'java --version',
    run: ({ port }) => [`keytool ${options} -printcert -sslserver localhost:${port} || true`],
    shows,
  };
}

function go(options: string, shows: string, times = 1): Recipe {
  const source = `package main
import ("crypto/tls"; "io")
func main() {
  c := &tls.Config{ServerName: "${name}", InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}, ${options}}
  for i := 0; i < ${times}; i++ {
    if s, err := tls.Dial("tcp", "127.0.0.1:PORT", c); err == nil { io.ReadAll(s); s.Close() }
  }
}`;
  return {
    client: 'Go',
    version: () => 'go version',
    run: ({ port, directory }) => [
      `cat > ${directory}/main.go <<'GO'\n${source.replace('PORT', String(port))}\nGO\nGOCACHE=${directory}/go GO111MODULE=off go run ${directory}/main.go`,
    ],
    shows,
  };
}

function tlsClient(options: string): string {
  return `require('tls').connect({ port: Number(process.env.PORT), host: '127.0.0.1', servername: '${name}', rejectUnauthorized: false, ${options} }).on('error', () => {}).on('data', () => {}).on('end', () => process.exit())`;
}

/** A command that runs the code; quotes of the shell are kept out of it. */
function nodeCode(program: string, code: string): string {
  return `${program} -e '${code.replaceAll("'", `'\\''`)}'`;
}

function npmNode(which: string, modules: string): string {
  return which === 'node26' ? 'node' : `${modules}/${which}/bin/node`;
}

function node(which: string, shows: string, options = ''): Recipe {
  return {
    client: 'Node',
    version: ({ modules }) => `${npmNode(which, modules)} --version`,
    run: ({ port, modules }) => [`PORT=${port} ${nodeCode(npmNode(which, modules), tlsClient(options))}`],
    shows,
  };
}

function nodeResumed(which: string, shows: string): Recipe {
  const again = tlsClient('session,');
  return {
    ...node(which, shows),
    run: ({ port, modules }) => [
      `PORT=${port} ${nodeCode(
        npmNode(which, modules),
        `let session; ${tlsClient('')}.on('session', (it) => { session = it }).removeAllListeners('end').on('end', () => { ${again} })`,
      )}`,
    ],
  };
}

function bun(options: string, shows: string): Recipe {
  return {
    client: 'Bun',
    version: ({ modules }) => `${modules}/.bin/bun --version`,
    run: ({ port, modules }) => [`PORT=${port} ${nodeCode(`${modules}/.bin/bun`, tlsClient(options))}`],
    shows,
  };
}

function curl(options: string, shows: string): Recipe {
  return {
    client: 'curl',
    version: () => 'curl --version',
    run: ({ port }) => [
      `curl -sk -m 3 ${options} --resolve ${name}:${port}:127.0.0.1 https://${name}:${port}/ || true`,
    ],
    shows,
  };
}
