/**
 * Where the built package is tested: the package as npm packs and installs it, and beside it this project's tests, compiled,
 * because older runtimes take no TypeScript. The program that tests start as `../src/main.ts` is the package's; what they import
 * besides is compiled from the same sources, module by module.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
/** What tests read besides code. */
const readByTests = [
  'README.md',
  'CHANGELOG.md',
  'SECURITY.md',
  'package.json',
  'docs',
  'config',
  'deploy',
  'test/fixtures',
  'test/corpus',
];
/** Development dependencies that no test imports; `node` is what is tested, and comes by itself. */
const notForTests = /^(@biomejs\/|@types\/|esbuild$|node$|typescript$|pg$)/;

/** Makes it in this directory, unless it is there from an earlier run. Returns the directory to run tests in. */
export function makeWorkspace(directory: string): string {
  const work = join(directory, 'work');
  if (existsSync(join(work, 'src'))) return work;
  const app = join(directory, 'app');
  mkdirSync(app, { recursive: true });
  mkdirSync(work);
  installPackage(directory, app);
  compileTests(work);
  for (const name of readByTests) cpSync(join(root, name), join(work, name), { recursive: true });
  symlinkSync(join(app, 'node_modules'), join(work, 'node_modules'));
  const page = 'src/observe/page';
  cpSync(join(root, page), join(work, 'compiled', page), { recursive: true });
  writeFileSync(
    join(work, 'compiled/src/main.js'),
    `import '${join(app, 'node_modules/penstock-proxy/dist/main.js')}';\n`,
  );
  // Last: it tells that all the rest is there.
  renameSync(join(work, 'compiled/src'), join(work, 'src'));
  return work;
}

function installPackage(directory: string, app: string): void {
  const packed = run('npm', ['pack', '--silent', '--pack-destination', directory], root);
  const tarball = join(directory, packed.trim().split('\n').at(-1) ?? '');
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(app, 'package.json'), '{ "private": true }\n');
  const testing = Object.keys(devDependencies).filter((name) => !notForTests.test(name));
  install(app, [tarball, ...testing.map((name) => `${name}@${devDependencies[name]}`)]);
}

/** A package and what it needs, without running scripts of any other than `node`, which fetches its binary so. */
export function install(directory: string, packages: readonly string[]): void {
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', ...packages], directory);
}

function compileTests(work: string): void {
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { noEmit: false, noCheck: true, rootDir: root, outDir: work, types: [] },
    include: ['src', 'test', 'bench', 'build'].map((name) => join(root, name)),
    exclude: [join(root, 'test/services')],
  };
  const file = join(work, 'tsconfig.json');
  writeFileSync(file, JSON.stringify(config));
  const outDir = join(work, 'compiled');
  run(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', file, '--outDir', outDir],
    root,
  );
  for (const name of ['test', 'bench', 'build'])
    cpSync(join(outDir, name), join(work, name), { recursive: true });
  for (const name of readdirSync(join(work, 'test'), { recursive: true, encoding: 'utf8' })) {
    const path = join(work, 'test', name);
    if (!path.endsWith('.js')) continue;
    // Programs that tests start are named in texts, which the compiler leaves alone.
    writeFileSync(path, readFileSync(path, 'utf8').replace(/(\.\.\/src\/[\w/-]+)\.ts(?=')/g, '$1.js'));
  }
}

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
