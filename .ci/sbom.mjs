/**
 * `npm run sbom`: what the package depends on at run time, with the hashes of the lock file, in CycloneDX's format, into
 * dist/sbom.cdx.json, which is part of the package. Needs no network and no node_modules.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const file = 'dist/sbom.cdx.json';
const flags = [
  '--package-lock-only',
  '--omit',
  'dev',
  '--sbom-format',
  'cyclonedx',
  '--sbom-type',
  'application',
];
const sbom = JSON.parse(execFileSync('npm', ['sbom', ...flags], { stdio: ['ignore', 'pipe', 'ignore'] }));
// npm calls it by the name of the directory.
sbom.metadata.component.name = JSON.parse(readFileSync('package.json', 'utf8')).name;
const unhashed = sbom.components.filter(({ hashes }) => !hashes?.length);
if (unhashed.length > 0) throw new Error(`no hash for ${unhashed.map(({ name }) => name).join(', ')}`);
mkdirSync('dist', { recursive: true });
writeFileSync(file, `${JSON.stringify(sbom, null, 2)}\n`);
process.stdout.write(`${file}: ${sbom.components.length} packages\n`);
