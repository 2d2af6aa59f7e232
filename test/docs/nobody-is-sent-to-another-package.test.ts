/**
 * The name `penstock` on npm is somebody else's program; this package is `penstock-proxy`, and only its command is `penstock`. No page,
 * unit, script or message here has anyone install, run or import that other one.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const places = ['.ci', 'config', 'deploy', 'docs', 'src', 'test', 'bench'];
const text = /\.(md|ts|mjs|js|json|ya?ml|sh|service|socket|txt)$|Dockerfile|\/run$/;

/** The bare name, where npm, Node or an editor would look for a package; not a path or address that ends so. */
const bare = 'penstock(?![-\\w])';
const strangers = [
  new RegExp(
    `\\b(npm|pnpm|yarn|bun)\\s+(install|i|add|exec|view|update|ci|uninstall)\\b[^\\n\`]*\\s${bare}(?!\\.)`,
  ),
  new RegExp(`\\b(npx|bunx)\\s+(-\\S+\\s+)*(?<!--no-install )${bare}`),
  new RegExp(`(\\bfrom|\\bimport|\\bimport\\(|\\brequire\\()\\s*['"]${bare}['"/]`),
  new RegExp(`node_modules/${bare}/`),
  /penstock-\d+\.\d+\.\d+\.tgz/,
  new RegExp(`(unpkg\\.com|jsdelivr\\.net/npm|npmjs\\.com/package)/${bare}`),
];

const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

test('the package has a name of its own, and the command is penstock', () => {
  assert.equal(own.name, 'penstock-proxy');
  assert.deepEqual(Object.keys(own.bin), ['penstock']);
});

test('nothing here names the other one', () => {
  const files = [...placesFiles(), ...readdirSync(root).filter((name) => name.endsWith('.md'))];
  assert.ok(files.length > 300);
  const found = files
    .filter((file) => !import.meta.filename.endsWith(file))
    .flatMap((file) => faultsOf(file, readFileSync(join(root, file), 'utf8')));
  assert.deepEqual(found, []);
});

test('what is looked for would be found', () => {
  const wrong = [
    'npm install -g penstock',
    'sudo npm install --global --prefix /usr/local penstock',
    'npx penstock check',
    "import type { Authorize } from 'penstock';",
    '$schema=./node_modules/penstock/config/penstock.schema.json',
    'npm install -g ./penstock-0.1.0.tgz',
  ];
  for (const line of wrong) assert.equal(faultsOf('page', line).length, 1, line);
  const right = [
    'npm install -g penstock-proxy',
    'npm install --global --prefix /usr/local ./penstock-proxy-0.1.0.tgz',
    'npx --no-install penstock --version',
    'npm run penstock -- check -c penstock.yaml',
    "import type { Authorize } from 'penstock-proxy';",
  ];
  for (const line of right) assert.deepEqual(faultsOf('page', line), [], line);
});

function placesFiles(): string[] {
  return places.flatMap((place) =>
    readdirSync(join(root, place), { recursive: true, encoding: 'utf8' })
      .map((name) => join(place, name))
      .filter((name) => text.test(name) && statSync(join(root, name)).isFile()),
  );
}

function faultsOf(file: string, content: string): string[] {
  return content
    .split('\n')
    .flatMap((line, index) =>
      strangers.some((stranger) => stranger.test(line)) ? [`${file}:${index + 1} ${line.trim()}`] : [],
    );
}
