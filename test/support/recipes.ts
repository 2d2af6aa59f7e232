/** Recipes: their pages in docs/recipes, the files that these quote, and both put to work as a reader would do it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { Command } from 'commander';
import { parse } from 'yaml';
import { addPkiCommand } from '../../src/tools/pki/flags.ts';
import { temporaryDirectory } from './certificates.ts';
import { type ProxyConfig, type RunningProxy, startProxy } from './proxy.ts';

const root = resolve(import.meta.dirname, '../..');

/** Names of the pages, without the index. */
export const recipePages: readonly string[] = namesIn('docs/recipes', '.md').filter(
  (name) => name !== 'README',
);

/** Names of the files. */
export const recipeFiles: readonly string[] = namesIn('config/recipes', '.yaml');

/** The text of a page; `README` is the index. */
export function pageText(page: string): string {
  return readFileSync(join(root, `docs/recipes/${page}.md`), 'utf8');
}

/** The text of a recipe's file. */
export function recipeText(file: string): string {
  return readFileSync(join(root, `config/recipes/${file}.yaml`), 'utf8');
}

/** What a page quotes of config/recipes: a link to the file, then the block of YAML that should be all of it. */
export function quotedBy(page: string): { readonly file: string; readonly yaml: string }[] {
  const quotes = pageText(page).matchAll(/\]\(([^)\s]+\.yaml)\)[^`]*(?:`[^`\n]+`[^`]*)*```yaml\n(.*?)```/gs);
  return [...quotes].map(([, link = '', yaml = '']) => {
    const path = relative(root, resolve(root, 'docs/recipes', link));
    assert.equal(dirname(path), 'config/recipes');
    return { file: path.slice('config/recipes/'.length, -'.yaml'.length), yaml };
  });
}

/** The commands below a heading of a page: its first block of shell. */
export function commandsBelow(page: string, heading: string): string {
  const below = pageText(page).split(`\n## ${heading}\n`)[1];
  const block = below && /```sh\n(.*?)```/s.exec(below)?.[1];
  assert.ok(block, `docs/recipes/${page}.md has no commands below "${heading}"`);
  return block;
}

/**
 * Runs a page's `penstock pki` commands in a directory, where the configuration would be. What is there already stays, so that
 * the recipes of the two ends of a connection can share a CA.
 */
export async function makeCertificates(page: string, directory: string): Promise<void> {
  const text = commandsBelow(page, 'Certificates').replaceAll('\\\n', ' ');
  const lines = text.split('\n').map((line) => line.replace(/ +#.*/, '').trim());
  for (const line of lines.filter((line) => line !== '')) {
    const words = line.match(/"[^"]*"|\S+/g)?.map((word) => word.replaceAll('"', '')) ?? [];
    const [program, pki, command = '', directoryName = '', name = 'ca', ...options] = words;
    assert.deepEqual([program, pki], ['penstock', 'pki'], line);
    const target = join(directory, directoryName);
    if (existsSync(join(target, `${name.replaceAll('*', '_wildcard')}.crt`))) continue;
    await runPki([command, target, ...(command === 'init' ? [] : [name]), ...options]);
  }
}

/** A directory with the certificates that a page has made. */
export async function certificatesOf(t: Pick<TestContext, 'after'>, page: string): Promise<string> {
  const directory = temporaryDirectory(t);
  await makeCertificates(page, directory);
  return directory;
}

/**
 * Starts a recipe with the certificates in `directory`, on free ports. `replace` are texts of the file that must be others here,
 * such as addresses of upstreams; each has to be there.
 */
export function startRecipe(
  t: Pick<TestContext, 'after'>,
  file: string,
  directory: string,
  replace: Readonly<Record<string, string>>,
): Promise<RunningProxy> {
  const text = replaceAll(recipeText(file), replace).replaceAll(/(?<=[\s[])pki\//g, `${directory}/pki/`);
  const config = parse(text) as ProxyConfig;
  const listeners = Object.entries(config.listeners).map(([name, listener]) => [
    name,
    { ...listener, bind: '127.0.0.1:0' },
  ]);
  return startProxy(t, { ...config, listeners: Object.fromEntries(listeners) });
}

/** The text with each key, which it must hold, replaced. All at once: nothing that was put in is replaced itself. */
export function replaceAll(text: string, replace: Readonly<Record<string, string>>): string {
  const longestFirst = Object.keys(replace).toSorted((one, other) => other.length - one.length);
  if (longestFirst.length === 0) return text;
  for (const from of longestFirst) assert.ok(text.includes(from), `no ${from} in ${text}`);
  const any = longestFirst.map((from) => from.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|');
  return text.replace(new RegExp(any, 'g'), (found) => replace[found] ?? found);
}

/** Of the files that end so, without that end. (Node 20 has no globSync.) */
function namesIn(directory: string, end: string): string[] {
  const files = readdirSync(join(root, directory)).filter((file) => file.endsWith(end));
  return files.map((file) => file.slice(0, -end.length)).sort();
}

async function runPki(args: readonly string[]): Promise<void> {
  let faults = '';
  const program = new Command('penstock').exitOverride();
  const err = (text: string): void => {
    faults += text;
  };
  addPkiCommand(program, { out: () => {}, err });
  await program.parseAsync(['pki', ...args], { from: 'user' });
  const failed = process.exitCode;
  process.exitCode = undefined;
  assert.ok(!failed, `penstock pki ${args.join(' ')}: ${faults}`);
}
