/**
 * Makes one file of the live page's parts: index.html, its style, its modules, and what docs/errors.md says
 * about each code. In a checkout it is made as penstock starts; a bundle has it ready (.ci/build/bundle.ts).
 */
import { readFileSync } from 'node:fs';

/** In the order in which they build upon one another; no two may use one name. */
const modules = [
  'format',
  'dom',
  'table',
  'tiles',
  'head',
  'dialog',
  'actions',
  'sections',
  'cluster',
  'sessions',
  'main',
];

export function assemblePage(): string {
  const read = (name: string) => readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8');
  const script = modules.map((name) => withoutModules(read(`${name}.js`))).join('\n');
  const errors = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  // Functions, since `$` has a meaning in a replacement.
  return read('index.html')
    .replace('<style></style>', () => `<style>\n${read('style.css')}</style>`)
    .replace('id="error-texts"></script>', () => `id="error-texts">${jsonOf(errorTexts(errors))}</script>`)
    .replace('<script type="module"></script>', () => `<script type="module">\n${script}</script>`);
}

function withoutModules(source: string): string {
  return source.replace(/^import [^;]*;\n/gm, '').replace(/^export /gm, '');
}

export type ErrorText = {
  readonly means: string;
  /** Whose fault it usually is. */
  readonly fault: string;
  readonly remedy: string;
};

/** The rows of docs/errors.md, by code, without Markdown's marks. */
export function errorTexts(page: string): Readonly<Record<string, ErrorText>> {
  const rows = page.matchAll(/^\| `(ERR_\w+)` \| (.*?) \| (.*?) \| (.*) \|$/gm);
  return Object.fromEntries(
    [...rows].map(([, code = '', means = '', fault = '', remedy = '']) => [
      code,
      { means: plain(means), fault: plain(fault), remedy: plain(remedy) },
    ]),
  );
}

function plain(text: string): string {
  return text
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/[`*]/g, '')
    .replaceAll('\\|', '|');
}

/** Within an element nothing may look like its end. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}
