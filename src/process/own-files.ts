/**
 * penstock's own files: the programs that it runs in processes and threads of their own, and its page. In a
 * checkout they are in their rooms; in the package they are side by side, each a bundle; the single
 * executable has them within itself.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Where each is in the sources, seen from here and without its ending. .ci/build/bundle.ts makes a bundle of
 * each.
 */
export const programs = {
  main: '../main',
  worker: '../worker/worker-entry',
  'load-thread': '../config/load-thread',
  'look-thread': '../config/sources/look-thread',
  'authorize-thread': '../tls/client-auth/authorize-thread',
  'load-process': '../tools/load/child',
  'apisix-add': '../cluster/apisix/add',
} as const;

type Program = keyof typeof programs;

/** .ci/build/bundle.ts puts the version of the package here. */
declare const PENSTOCK_BUNDLE: string | undefined;

/** Undefined if this is not a bundle. */
export const bundledVersion: string | undefined =
  typeof PENSTOCK_BUNDLE === 'string' ? PENSTOCK_BUNDLE : undefined;

/** Undefined if this is not the single executable. */
const executable = bundledVersion === undefined ? undefined : openExecutable();

function openExecutable(): typeof import('node:sea') | undefined {
  const sea = process.getBuiltinModule('node:sea');
  return sea?.isSea() ? sea : undefined;
}

export const isExecutable: boolean = executable !== undefined;

/** What `new Worker` and `import` take. */
export function urlOf(name: Program): URL {
  if (executable) {
    const code = Buffer.from(executable.getRawAsset(`${name}.js`)).toString('base64');
    return new URL(`data:text/javascript;base64,${code}`);
  }
  if (bundledVersion !== undefined) return new URL(`./${name}.js`, import.meta.url);
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`${programs[name]}.${extension}`, import.meta.url);
}

/** What `fork` takes: a program, and flags for its Node. */
export type Forkable = { readonly program: string; readonly execArgv: readonly string[] };

/**
 * The executable starts itself, and finds out by its first argument what it is:
 * .ci/build/executable-main.ts.
 */
export function forkable(name: Program, flags: readonly string[]): Forkable {
  if (!isExecutable) return { program: fileURLToPath(urlOf(name)), execArgv: flags };
  const options = flags.map((flag) => `"${flag.replace(/["\\]/g, '\\$&')}"`).join(' ');
  return {
    program: `--program=${name}`,
    execArgv: options === '' ? [] : [`--node-options=${options}`],
  };
}

/** What makes `process.execPath` exit with this code. */
export function exitArguments(code: number): readonly string[] {
  return isExecutable ? ['--program=exit', String(code)] : ['-e', `process.exit(${code})`];
}

/** The top of the package, or of the checkout. */
export function packageDirectory(): string {
  return fileURLToPath(new URL(bundledVersion === undefined ? '../..' : '..', import.meta.url));
}

/** The live page, as the build has made it; undefined in a checkout, which has its parts. */
export function readStatusPage(): string | undefined {
  if (executable) return executable.getAsset('status.html', 'utf8');
  if (bundledVersion === undefined) return undefined;
  return readFileSync(new URL('./status.html', import.meta.url), 'utf8');
}
