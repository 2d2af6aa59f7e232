/**
 * Each recipe of config/recipes is quoted whole by one page of docs/recipes, and with the certificates that the page's commands
 * make it is valid, without a warning. The index links every page.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../src/config/sources/file.ts';
import {
  certificatesOf,
  pageText,
  quotedBy,
  recipeFiles,
  recipePages,
  recipeText,
} from '../support/recipes.ts';

for (const page of recipePages) {
  describe(page, () => {
    const quotes = quotedBy(page);
    test('quotes its files as they are', () => {
      assert.ok(quotes.length > 0);
      for (const { file, yaml } of quotes) assert.equal(yaml, recipeText(file), file);
    });

    test('its commands make the certificates with which its files are valid', async (t) => {
      const directory = await certificatesOf(t, page);
      for (const { file } of quotes) {
        const path = join(directory, `${file}.yaml`);
        writeFileSync(path, recipeText(file));
        const { warnings } = await loadConfig(path);
        assert.deepEqual(warnings, [], file);
      }
    });

    test('the index leads to it', () => {
      assert.ok(pageText('README').includes(`](${page}.md)`));
    });
  });
}

test('each file has one page', () => {
  assert.ok(recipeFiles.length > 0);
  assert.deepEqual(
    recipePages
      .flatMap(quotedBy)
      .map(({ file }) => file)
      .sort(),
    recipeFiles,
  );
});
