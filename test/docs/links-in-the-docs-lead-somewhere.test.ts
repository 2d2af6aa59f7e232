/**
 * Each link of the pages, those of docs and those beside README.md, to a file leads to one that is there and that the package or the checkout
 * has, and each `#anchor` to a heading of that page. Tests that the documents name exist.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { pages, readPage } from '../support/pages.ts';

const root = join(import.meta.dirname, '../..');
const read = readPage;

/** Markdown without what is code: links there are none. */
function prose(page: string): string {
  return read(page)
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, (code) => ' '.repeat(code.length));
}

/** `[text](target)`, with the text perhaps over two lines. */
function links(page: string): string[] {
  return [...prose(page).matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
}

/** A heading's anchor as GitHub makes it: lower case, punctuation dropped, spaces to hyphens, repeated ones numbered. */
function anchors(page: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = [
    ...read(page)
      .replace(/^```.*?^```$/gms, '')
      .matchAll(/^#{1,6} +(.+)$/gm),
  ];
  return new Set(
    headings.map(([, heading = '']) => {
      const anchor = heading
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{Pc} -]/gu, '')
        .replaceAll(' ', '-');
      const count = seen.get(anchor) ?? 0;
      seen.set(anchor, count + 1);
      return count === 0 ? anchor : `${anchor}-${count}`;
    }),
  );
}

for (const page of pages) {
  describe(page, () => {
    for (const link of new Set(links(page).filter((target) => !/^[a-z]+:/.test(target)))) {
      test(link, () => {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? page : relative(root, join(root, dirname(page), path));
        assert.ok(existsSync(join(root, target)), `${target} is not there`);
        if (anchor === undefined) return;
        assert.ok(anchors(target).has(anchor), `${target} has no heading for #${anchor}`);
      });
    }
  });
}

/** In whatever folder they are. */
const testNames = new Set(
  readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => basename(file, '.test.ts')),
);

test('the tests that docs/security.md names are there', () => {
  const table = read('docs/security.md').match(/^\| \d .*$/gm) ?? [];
  assert.equal(table.length, 9);
  for (const row of table) {
    const named = [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    assert.ok(named.length > 0, row);
    for (const name of named) assert.ok(testNames.has(name), `${name} is not there`);
    const files = [...row.matchAll(/`(src\/[^`]+)`/g)].map((match) => match[1] ?? '');
    for (const file of files) assert.ok(existsSync(join(root, file)), `${file} is not there`);
  }
});

test('the tests that keep attacks away are there', () => {
  const section = /^## Attacks$(.*?)^### /ms.exec(read('docs/security.md'))?.[1] ?? '';
  const rows = section.match(/^\| .*$/gm)?.slice(2) ?? [];
  assert.ok(rows.length > 20);
  for (const row of rows) {
    const named = [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    assert.ok(named.length > 0, row);
    for (const name of named) assert.ok(testNames.has(name), `${name} is not there`);
  }
});
