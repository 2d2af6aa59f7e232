/** ejabberd in a temporary directory: a port without TLS, and one that demands it. Started without Erlang's distribution, so that no epmd stays behind. */
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { accepts } from './client.ts';
import { type Running, serve } from './process.ts';

export type EjabberdOptions = {
  readonly domain: string;
  readonly ports: { readonly plain: number; readonly secure: number };
  readonly credential: { readonly chain: string; readonly key: string };
  /** An account whose password is `secret`. */
  readonly user: string;
};

export async function startEjabberd(t: TestContext, options: EjabberdOptions): Promise<Running> {
  const { domain, ports, credential, user } = options;
  const directory = temporaryDirectory(t);
  const [config, pem, logs] = ['ejabberd.yml', 'own.pem', 'logs'].map((name) => join(directory, name));
  mkdirSync(logs ?? '');
  writeFileSync(pem ?? '', credential.key + credential.chain);
  const listener = (port: number, more: string) =>
    `  - { port: ${port}, ip: "127.0.0.1", module: ejabberd_c2s, ${more} }\n`;
  writeFileSync(
    config ?? '',
    `hosts: ["${domain}"]
loglevel: warning
certfiles: ["${pem}"]
auth_method: internal
auth_password_format: scram
acme: { auto: false }
listen:
${listener(ports.plain, 'starttls: false')}${listener(ports.secure, 'starttls_required: true')}modules: { mod_ping: {} }
`,
  );
  const code = globSync('/usr/lib/{x86_64-linux-gnu,erlang/lib}/ejabberd-*/ebin')[0] ?? '';
  const account = [user, domain, 'secret'].map((text) => `<<"${text}">>`).join(', ');
  const args = [
    ...['-noinput', '-pa', code, '-mnesia', 'dir', `"${join(directory, 'mnesia')}"`, '-s', 'ejabberd'],
    ...['-eval', `ejabberd_auth:try_register(${account}).`],
  ];
  const env = {
    HOME: directory,
    EJABBERD_CONFIG_PATH: config ?? '',
    EJABBERD_LOG_PATH: join(logs ?? '', 'ejabberd.log'),
  };
  const ready = async (): Promise<void> => {
    for (const port of Object.values(ports)) await accepts(port);
  };
  return serve(t, 'erl', args, { ready, env, cwd: directory });
}
