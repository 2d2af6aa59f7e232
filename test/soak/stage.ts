/** Everything that a soak needs running: credentials, endpoints, penstock before them, and the ways through it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeFiles } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { type Credentials, createCredentials } from './credentials.ts';
import type { EndpointCounts } from './endpoint.ts';
import { type Endpoints, type Penstock, startEndpoints, startProxy } from './programs.ts';
import { type Ports, siteConfig, siteFiles, writeConfig } from './site.ts';
import { createWays, type Way, type WayName } from './ways.ts';

export type Stage = {
  readonly proxy: Penstock;
  /** Of its configuration. */
  readonly directory: string;
  readonly credentials: Credentials;
  readonly ports: Ports;
  readonly ways: Readonly<Record<WayName, Way>>;
  readonly endpoints: Endpoints;
  /** The endpoint that is killed now and then, in a process of its own. */
  readonly mortal: Mortal;
};

export type Mortal = {
  readonly pid: () => number;
  /** Resolves when it is gone; what it had counted is kept. `onDying` is called right before. */
  readonly kill: (onDying: () => void) => Promise<void>;
  readonly comeBack: () => Promise<void>;
  /** Of all its lives. */
  readonly count: () => Promise<EndpointCounts[]>;
};

/** Starts it all; `out` is where penstock's log goes. The configuration is removed when this process ends. */
export async function setStage(out: string): Promise<Stage> {
  const credentials = await createCredentials();
  const { chain: cert, key } = credentials.endpoint;
  const common = { cert, key, ca: credentials.ca.cert };
  const kinds = {
    one: 'plain',
    two: 'plain',
    steady: 'plain',
    proxy: 'proxy',
    pass: 'tls',
    mutual: 'mutual',
    postgres: 'postgres',
  } as const;
  const endpoints = await startEndpoints({
    ...common,
    endpoints: Object.entries(kinds).map(([label, kind]) => ({ label, kind })),
  });
  const port = await closedPort();
  const mortal = await startMortal(() =>
    startEndpoints({ ...common, endpoints: [{ label: 'mortal', kind: 'plain', port }] }),
  );
  const ports: Ports = { ...endpoints.ports, mortal: port };
  const directory = mkdtempSync(join(tmpdir(), 'penstock-soak-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  writeFiles(directory, await siteFiles(credentials));
  writeConfig(directory, siteConfig(ports, credentials, { extended: false, faulty: false }));
  const proxy = await startProxy(directory, out);
  const ways = createWays((name) => proxy.port(name), ports['pass'] ?? 0, credentials);
  return { proxy, directory, credentials, ports, ways, endpoints, mortal };
}

async function startMortal(start: () => Promise<Endpoints>): Promise<Mortal> {
  const past: EndpointCounts[] = [];
  let current = await start();
  return {
    pid: () => current.pid,
    async kill(onDying) {
      past.push(await current.count());
      onDying();
      await current.kill();
    },
    async comeBack() {
      current = await start();
    },
    count: async () => [...past, await current.count()],
  };
}
