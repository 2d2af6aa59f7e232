/** What outside testers look at: every TLS listener of the demo, and one with RSA and ECDSA keys and OCSP staples besides. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { penstockMain } from '../support/penstock.ts';
import { startProxy } from '../support/proxy.ts';
import { opensslOcsp } from './openssl-ocsp.ts';

/** A listener on 127.0.0.1, and how to get in. Files are PEM. */
export type TlsListener = {
  readonly name: string;
  readonly port: number;
  readonly sni: string;
  /** Whether a client that names no server is refused. */
  readonly needsName: boolean;
  readonly ca: string;
  /** Keys of its certificates. */
  readonly keys: readonly ('ECDSA' | 'RSA')[];
  readonly client?: { readonly cert: string; readonly key: string };
  readonly starttls?: 'postgres';
  readonly stapled?: boolean;
};

/** Those of `penstock demo`, which is started in a directory of its own and ends with the test. */
export async function startDemo(t: Pick<TestContext, 'after'>): Promise<TlsListener[]> {
  const cwd = temporaryDirectory(t);
  const child = spawn(process.execPath, [penstockMain, 'demo'], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await serving(child);
  const file = (name: string) => join(cwd, '.penstock-demo', name);
  const { listeners } = parse(readFileSync(file('penstock.yaml'), 'utf8'));
  const listener = (name: string, sni: string, more: Partial<TlsListener> = {}): TlsListener => ({
    name: `demo ${name}`,
    port: Number(String(listeners[name].bind).split(':')[1]),
    sni,
    needsName: true,
    ca: file('ca.crt'),
    keys: ['ECDSA'],
    ...more,
  });
  const client = (name: string) => ({ cert: file(`${name}.crt`), key: file(`${name}.key`) });
  return [
    listener('terminate', 'echo.demo.test'),
    listener('mutual_tls', 'echo.demo.test', { client: client('alice') }),
    listener('pinned', 'echo.demo.test', { client: client('sensor') }),
    listener('passthrough', 'secure.demo.test', { ca: file('internal-ca.crt') }),
    listener('rewrap', 'vault.demo.test'),
    listener('postgres', 'db.demo.test', { starttls: 'postgres', needsName: false }),
  ];
}

/** One whose settings are all defaults, with an ECDSA and an RSA key and a staple for each. */
export async function startStapled(t: Pick<TestContext, 'after'>): Promise<TlsListener> {
  const authority = await createAuthority();
  const names = { cn: 'both.example.test', dns: ['both.example.test'], usage: 'server' } as const;
  const [ec, rsa] = [await authority.issue(names), await authority.issue({ ...names, keyType: 'rsa' })];
  const { port } = await echoUpstream(t);
  const pair = (key: string) => ({ cert: `${key}.crt`, key: `${key}.key`, ocsp: `${key}.ocsp` });
  const proxy = await startProxy(
    t,
    {
      certificates: { both: { pairs: [pair('ec'), pair('rsa')] } },
      listeners: { defaults: { routes: [{ tls: { certificates: 'both' }, upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
    },
    {
      'ca.crt': authority.cert,
      'ec.crt': ec.chain,
      'ec.key': ec.key,
      'ec.ocsp': await opensslOcsp(t, authority, ec, 'V'),
      'rsa.crt': rsa.chain,
      'rsa.key': rsa.key,
      'rsa.ocsp': await opensslOcsp(t, authority, rsa, 'V'),
    },
  );
  return {
    name: 'ECDSA and RSA, stapled',
    port: proxy.port(),
    sni: 'both.example.test',
    needsName: false,
    ca: join(proxy.directory, 'ca.crt'),
    keys: ['ECDSA', 'RSA'],
    stapled: true,
  };
}

async function serving(child: ChildProcess): Promise<void> {
  let output = '';
  for await (const chunk of child.stdout ?? []) {
    output += chunk;
    if (output.includes('Serving until Ctrl-C.')) {
      child.stdout?.resume();
      return;
    }
  }
  throw new Error(`the demo ended:\n${output}`);
}
