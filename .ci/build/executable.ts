/**
 * `npm run build:executable [-- --node BINARY --arch ARCH]`: a single file that is Node and penstock, out/penstock-linux-ARCH, by
 * Node's own means (https://nodejs.org/api/single-executable-applications.html). The Node is the one that the lock file pins; for
 * another architecture name a binary of the same version. Symbols are left out with `strip`, of that architecture.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, root, sources, version } from './bundle.ts';
import { nodeComponents } from './node-parts.ts';
import { writeLicences } from './parts.ts';
import { writeSbom } from './sbom.ts';

const { values } = parseArgs({
  options: {
    node: { type: 'string', default: process.execPath },
    arch: { type: 'string', default: process.arch },
    strip: { type: 'string', default: 'strip' },
  },
});

const directory = join(root, 'out');
const name = `penstock-linux-${values.arch}`;
const output = join(directory, name);
mkdirSync(directory, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'penstock-executable-'));
try {
  await make();
} finally {
  rmSync(work, { recursive: true });
}

async function make(): Promise<void> {
  const {
    'load-thread': load,
    'look-thread': look,
    'authorize-thread': authorize,
    'apisix-add': add,
  } = sources;
  const threads = {
    'load-thread': load,
    'look-thread': look,
    'authorize-thread': authorize,
    'apisix-add': add,
  };
  const programs = { main: '.ci/build/executable-main.ts', ...threads } as Record<string, string>;
  // It can import nothing that is not in it, not even what is optional.
  const parts = await bundle(programs, work, { external: [] });
  const names = [...Object.keys(threads).map((thread) => `${thread}.js`), 'status.html'];
  const stripped = join(work, 'node');
  copyFileSync(values.node, stripped);
  execFileSync(values.strip, [stripped]);
  const config = {
    main: join(work, 'main.js'),
    mainFormat: 'module',
    executable: stripped,
    output,
    disableExperimentalSEAWarning: true,
    // Node's environment variables are for other programs, and could load code into this one.
    execArgv: ['--disable-sigusr1'],
    execArgvExtension: 'cli',
    assets: Object.fromEntries(names.map((asset) => [asset, join(work, asset)])),
  };
  writeFileSync(join(work, 'config.json'), JSON.stringify(config));
  execFileSync(process.execPath, ['--build-sea', join(work, 'config.json')], { stdio: 'inherit' });
  chmodSync(output, 0o755);
  writeLicences(parts, `${output}.licenses.txt`);
  writeSbom({ name: 'penstock', version }, parts, `${output}.cdx.json`, nodeComponents());
  process.stdout.write(`${output}: ${Math.round(statSync(output).size / 1e6)} MB\n`);
}
