/**
 * Captures the corpus anew: `node test/corpus/capture.ts [NAME…]`. Runs each client against a server of its own on
 * 127.0.0.1, writes what came first to hellos/NAME.bin, and says which clients it could not capture: those that are not
 * installed, and those that sent nothing. The index says what each is, and what tshark reads in it. Nodes and Bun come from npm, into a temporary directory, or with
 * `--clients DIR` from where they are.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { plainJa4 } from '../fuzz/differential/plain-ja4.ts';
import { readWithTshark, tsharkVersion } from '../fuzz/differential/tshark.ts';
import { createAuthority } from '../support/certificates.ts';
import { type Kit, type Recipe, recipes } from './clients.ts';
import { startNode, startOpenSsl, startRecorder } from './recorder.ts';

const folder = new URL('./hellos/', import.meta.url);
const indexFile = new URL('index.json', folder);

type Entry = {
  readonly client: string;
  readonly version: string;
  readonly shows: string;
  /** What tshark reads in it, who knows nothing of our parser: a test holds the parser to that. */
  readonly tshark?: object;
};

const { values, positionals } = parseArgs({
  options: { clients: { type: 'string' } },
  allowPositionals: true,
});
const directory = mkdtempSync(join(tmpdir(), 'penstock-capture-'));
try {
  await captureAll(positionals.length > 0 ? positionals : Object.keys(recipes));
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function captureAll(names: readonly string[]): Promise<void> {
  const modules = join(values.clients ?? installClients(), 'node_modules');
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['orders.example.com', 'localhost'] });
  writeFileSync(join(directory, 'own.crt'), own.cert);
  writeFileSync(join(directory, 'own.key'), own.key);
  // A server puts its client's certificate into the ticket: that makes tickets as large as they come.
  for (const kilobytes of [15, 40, 60]) {
    const dns = Array.from({ length: kilobytes * 16 }, (_, index) =>
      `${'x'.repeat(54)}${index}`.slice(-58).concat('.org'),
    );
    const large = await authority.issue({ dns, usage: 'client' });
    writeFileSync(join(directory, `large-${kilobytes}.crt`), large.cert);
    writeFileSync(join(directory, `large-${kilobytes}.key`), large.key);
  }
  const index: Record<string, Entry> = JSON.parse(readFileSync(indexFile, 'utf8'));
  for (const name of names) {
    const recipe = recipes[name];
    if (recipe === undefined) throw new RangeError(`there is no recipe for ${name}`);
    const back =
      recipe.behind === 'openssl'
        ? startOpenSsl(join(directory, 'own.crt'), join(directory, 'own.key'))
        : startNode(own);
    const recorder = await startRecorder(await back);
    const kit = { port: recorder.port, directory, modules };
    const failure = await capture(recipe, kit);
    const hello = recorder.hellos.at(-1);
    recorder.close();
    if (hello === undefined) {
      console.log(`${name}: NOT captured${failure}`);
      continue;
    }
    writeFileSync(new URL(`${name}.bin`, folder), hello);
    const version = (await shell(recipe.version(kit))).stdout.trim().split(/\n| \(/)[0] ?? '';
    index[name] = { client: recipe.client, version, shows: recipe.shows };
    console.log(`${name}: ${hello.length} bytes of ${version}, connection ${recorder.hellos.length}`);
  }
  await saveIndex(index);
}

async function saveIndex(index: Readonly<Record<string, Entry>>): Promise<void> {
  const names = Object.keys(index)
    .filter((name) => name in recipes)
    .sort();
  const wires = names.map((name) => readFileSync(new URL(`${name}.bin`, folder)));
  const hasTshark = (await tsharkVersion()) !== undefined;
  if (!hasTshark) console.log('tshark is missing: the index says nothing of what it reads');
  const readings = hasTshark ? await readWithTshark(wires) : [];
  const entries = names.map((name, at) => {
    const { client = '', version = '', shows = '' } = index[name] ?? {};
    const reading = readings[at];
    if (reading === undefined) return [name, { client, version, shows }];
    const { names: sni, alpn, versions, groups, extensions } = reading;
    const tshark = { sni: sni[0] ?? null, alpn, versions, groups, extensions, ja4: plainJa4(reading) };
    return [name, { client, version, shows, tshark }];
  });
  // One line each, so that what changes can be seen.
  const lines = entries.map(([name, entry]) => `  ${JSON.stringify(name)}: ${JSON.stringify(entry)}`);
  writeFileSync(indexFile, `{\n${lines.join(',\n')}\n}\n`);
}

async function capture(recipe: Recipe, kit: Kit): Promise<string> {
  for (const command of recipe.run(kit)) {
    const { failure } = await shell(command);
    if (failure !== '') return failure;
  }
  return '';
}

function shell(command: string): Promise<{ stdout: string; failure: string }> {
  return new Promise((resolve) => {
    // Some clients would go on for ever; `timeout` ends all that the command has started.
    const limits = ['--kill-after=2', '40', 'bash', '-c', command];
    const child = execFile('timeout', limits, (error, stdout, stderr) => {
      resolve({ stdout, failure: error ? `: ${stderr.trim().split('\n')[0]}` : '' });
    });
    child.stdin?.end();
  });
}

function installClients(): string {
  const packages = ['node20@npm:node@20', 'node22@npm:node@22', 'node24@npm:node@24', 'bun'];
  // npm runs the scripts of those alone that are named here.
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ allowScripts: { node: true, bun: true } }));
  execFileSync('npm', ['install', '--no-audit', '--no-fund', ...packages], {
    cwd: directory,
    stdio: 'ignore',
  });
  return directory;
}
