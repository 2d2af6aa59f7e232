/**
 * Makes what runs, with all that it imports: a file for each program of penstock, and in the package (`npm run build`, to dist/) some
 * that they share, so that a process loads only what it needs. executable.ts makes its own.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { assemblePage } from '../../src/observe/assemble-page.ts';
import { programs } from '../../src/process/own-files.ts';
import { type Part, partsOf, writeLicences } from './parts.ts';
import { writeSbom } from './sbom.ts';

export const root = resolve(import.meta.dirname, '../..');

export const { version, name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  name: string;
};

/**
 * Packages in CommonJS call `require`, which modules lack; they need it for Node's own modules only. Names stay as they are, so
 * that stack traces can be read; for the lines of the sources: NODE_OPTIONS=--enable-source-maps.
 */
const shared: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  // Modules rather than CommonJS where a package has both: what is not used is left out.
  mainFields: ['module', 'main'],
  minifyWhitespace: true,
  legalComments: 'none',
  // Optional, and installed beside it.
  external: ['@opentelemetry/*'],
  banner: { js: 'const require=(name)=>process.getBuiltinModule(name);' },
  define: { PENSTOCK_BUNDLE: JSON.stringify(version) },
  plugins: [english()],
  metafile: true,
  logLevel: 'warning',
};

/** zod has its messages in fifty languages, half of its code; penstock has its own. */
function english(): Plugin {
  return {
    name: 'english',
    setup({ onLoad }) {
      onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
        contents: "export { default as en } from './en.js';",
      }));
    },
  };
}

/** Bundles these sources, by the name of what comes out, into a directory. Returns the packages that are part of them. */
export async function bundle(
  sources: Readonly<Record<string, string>>,
  directory: string,
  options: BuildOptions = {},
): Promise<readonly Part[]> {
  const { metafile } = await build({ ...shared, entryPoints: { ...sources }, outdir: directory, ...options });
  writeFileSync(join(directory, 'status.html'), assemblePage());
  return partsOf(Object.keys(metafile?.inputs ?? {}));
}

/** The source of each program, from the top of the checkout. */
export const sources: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(programs).map(([name, place]) => [name, `${join('src/process', place)}.ts`]),
);

async function main(): Promise<void> {
  const directory = join(root, 'dist');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  const parts = await bundle(sources, directory, {
    splitting: true,
    sourcemap: 'linked',
    sourcesContent: false,
  });
  // There is only a type to import.
  writeFileSync(join(directory, 'index.js'), 'export {};\n');
  writeLicences(parts, join(directory, 'third-party-licenses.txt'));
  writeSbom({ name, version }, parts, join(directory, 'sbom.cdx.json'));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
