/** Prosody in a temporary directory. It refuses to run as root. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { accepts } from './client.ts';
import { ordinaryUser, type Running, run, serve } from './process.ts';

export type ProsodyOptions = {
  /** Where its files go, and may be read by it. */
  readonly directory: string;
  readonly domain: string;
  /** In the global section, such as the ports. */
  readonly settings: string;
  /** At which it accepts when it is ready. */
  readonly ports: readonly number[];
  /** Files of its certificate. */
  readonly credential: { readonly cert: string; readonly key: string };
  /** An account whose password is `secret`. */
  readonly user?: string;
};

export async function startProsody(t: TestContext, options: ProsodyOptions): Promise<Running> {
  const { directory, domain, credential } = options;
  const data = join(directory, 'data');
  mkdirSync(data);
  openTo(directory);
  const file = join(directory, 'prosody.cfg.lua');
  writeFileSync(
    file,
    `
pidfile = "${join(data, 'prosody.pid')}"
data_path = "${data}"
log = { info = "*console" }
authentication = "internal_hashed"
http_ports = {}
https_ports = {}
${options.settings}
VirtualHost "${domain}"
  ssl = { certificate = "${credential.cert}", key = "${credential.key}" }
`,
  );
  const user = ordinaryUser('prosody', 'nobody');
  const around = { user, cwd: directory };
  if (options.user) {
    const account = [options.user, domain, 'secret'];
    const made = await run('prosodyctl', ['--config', file, 'register', ...account], around);
    assert.equal(made.code, 0, made.stdout + made.stderr);
  }
  const ready = async () => {
    for (const port of options.ports) await accepts(port);
  };
  return serve(t, 'prosody', ['-F', '--config', file], { ready, ...around });
}

/** Lets others than us read and write there. */
function openTo(directory: string): void {
  chmodSync(directory, 0o777);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) openTo(path);
    else chmodSync(path, 0o644);
  }
}
