/** What a page has become in a real browser after a while. */
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { run } from './process.ts';

/** Chromium's document after so many milliseconds, in which its clock runs ahead while nothing is waited for. */
export async function documentAfter(t: Pick<TestContext, 'after'>, url: string, ms: number): Promise<string> {
  const quiet = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ];
  const directory = temporaryDirectory(t);
  const args = [...quiet, `--user-data-dir=${directory}`, `--virtual-time-budget=${ms}`, '--dump-dom', url];
  const { code, stdout, stderr } = await run('chromium', args, { env: { HOME: directory } });
  if (code !== 0) throw new Error(`chromium ended with ${code}: ${stderr}`);
  return stdout;
}

/** The rows of a document's tables by the headings above them, each a list of what its cells say. */
export function tablesOf(html: string): Map<string, string[][]> {
  const tables = new Map<string, string[][]>();
  for (const [, section = ''] of html.matchAll(/<section>(.*?)<\/section>/gs)) {
    const title = /<h2[^>]*>(.*?)<\/h2>/s.exec(section)?.[1] ?? '';
    const rows = [...section.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row = '']) =>
      [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell = '']) => unescapeHtml(cell)),
    );
    tables.set(unescapeHtml(title), rows);
  }
  return tables;
}

/** The text of the element with this id. */
export function textOf(html: string, id: string): string {
  return unescapeHtml(new RegExp(`id="${id}"[^>]*>(.*?)<`, 's').exec(html)?.[1] ?? '');
}

function unescapeHtml(text: string): string {
  const characters: Record<string, string> = { lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', amp: '&' };
  return text.replace(/&(lt|gt|quot|nbsp|amp);/g, (_, name: string) => characters[name] ?? '');
}
