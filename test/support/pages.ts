/** The pages that users read, and the blocks of code within them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** Paths from the top of the checkout. */
export const pages: readonly string[] = [
  ...readdirSync(root),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((file) => join('docs', file)),
]
  .filter((file) => file.endsWith('.md'))
  .sort();

/** A fenced block; `line` is that of its first line, from 1, and `language` is '' where none is named. */
export type Block = {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
};

/** The text of a page. */
export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

/** The fenced blocks of all pages. */
export function blocks(): Block[] {
  return pages.flatMap((page) => {
    const whole = readPage(page);
    return [...whole.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
      ({ index, 1: language = '', 2: text = '' }) => ({
        page,
        line: lineAt(whole, index) + 1,
        language,
        text,
      }),
    );
  });
}

/** Code within the prose of all pages: `…`, on one line. */
export function inlineCode(): Block[] {
  return pages.flatMap((page) => {
    const prose = readPage(page).replace(/^```.*?^```$/gms, (block) => block.replace(/[^\n]/g, ''));
    return [...prose.matchAll(/`([^`\n]+)`/g)].map(({ index, 1: text = '' }) => ({
      page,
      line: lineAt(prose, index),
      language: '',
      text,
    }));
  });
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
