/**
 * How long the event loops of a supervisor and of a worker stand still while a configuration of many names is reloaded, and how
 * much of that is V8 collecting garbage: `npm run bench:stalls -- [--names 100000] [--reloads 6] [--shape routes|one|yaml]`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { checkout, ownNode } from '../compare/peers.ts';
import { describeTurn, readTurns } from './turns.ts';

const { values } = parseArgs({
  options: {
    names: { type: 'string', default: '100000' },
    reloads: { type: 'string', default: '6' },
    /** `routes`: each name has a route of its own. `one`: all are in one. `yaml`: each has one, and a reload changes one of them. */
    shape: { type: 'string', default: 'routes' },
    /** More flags of Node's, with commas between them. */
    flags: { type: 'string', default: '' },
    /** Each turn that was longer than this, in ms, is printed. */
    longer: { type: 'string', default: '8' },
  },
});
/** So long after a reload what it left is still being cleared up. */
const settleMs = 2000;
const longMs = Number(values.longer);

const directory = mkdtempSync(join(tmpdir(), 'penstock-stalls-'));
const file = join(directory, 'penstock.yaml');
writeFileSync(join(directory, 'turns'), '');
writeConfig(0);
const args = ['--import', join(import.meta.dirname, 'probe.ts'), ...values.flags.split(',').filter(Boolean)];
const penstock = spawn(ownNode(), [...args, resolve(checkout, 'src/main.ts'), 'run', '-c', file], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, STALLS: directory },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => penstock.kill());
const lines = createInterface({ input: penstock.stdout })[Symbol.asyncIterator]();
try {
  await told('ready');
  await sleep(settleMs);
  for (let reload = 1; reload <= Number(values.reloads); reload += 1) {
    writeFileSync(join(directory, 'turns'), '');
    writeConfig(reload);
    const at = performance.now();
    penstock.kill('SIGHUP');
    await told('reloaded');
    const ms = performance.now() - at;
    await sleep(settleMs);
    print(reload, ms);
  }
} finally {
  penstock.kill();
  if (penstock.exitCode === null) await once(penstock, 'exit');
  rmSync(directory, { recursive: true });
}

/** JSON, which is read faster, or YAML, of which only what changed is read again. */
function writeConfig(version: number): void {
  const names = Array.from({ length: Number(values.names) }, (_, at) => `tenant-${at}.v${version}.example`);
  const route = { tls: 'passthrough', upstream: 'u' };
  const routes =
    values.shape === 'one' ? [{ sni: names, ...route }] : names.map((sni) => ({ sni, ...route }));
  const config = {
    workers: 1,
    log: { destination: 'stdout' },
    listeners: { main: { bind: '127.0.0.1:0', routes } },
    upstreams: { u: { endpoints: ['127.0.0.1:7'] } },
  };
  writeFileSync(file, values.shape === 'yaml' ? yamlOf(version) : JSON.stringify(config));
}

function yamlOf(version: number): string {
  const changed = Math.floor(Number(values.names) / 2);
  const routes = Array.from({ length: Number(values.names) }, (_, at) => {
    const name = at === changed ? `changed.v${version}.example` : `tenant-${at}.example`;
    return `      - sni: ${name}\n        tls: passthrough\n        upstream: u\n`;
  });
  return `workers: 1\nlisteners:\n  main:\n    bind: 127.0.0.1:0\n    routes:\n${routes.join('')}upstreams:\n  u: { endpoints: ["127.0.0.1:7"] }\n`;
}

async function told(message: string): Promise<void> {
  for (;;) {
    const { value: line, done } = await lines.next();
    if (done) throw new Error(`penstock ended before it was ${message}`);
    if (line.includes(`"msg":"${message}"`)) return;
  }
}

function print(reload: number, ms: number): void {
  const turns = readTurns(directory);
  process.stdout.write(`reload ${reload}: ${ms.toFixed(0)} ms\n`);
  for (const role of ['supervisor', 'worker'] as const) {
    const own = turns.filter((turn) => turn.role === role);
    const longest = Math.max(0, ...own.map(({ cpu }) => cpu));
    const long = own.filter(({ cpu }) => cpu > longMs);
    process.stdout.write(
      `  ${role}: longest turn ${longest.toFixed(1)} ms of CPU, ${long.length} over ${longMs} ms\n`,
    );
    for (const turn of long) process.stdout.write(`    ${describeTurn(turn)}\n`);
  }
}
