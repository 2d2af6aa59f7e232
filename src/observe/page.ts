/** The live page, and what a browser lets it do. */
import { createHash } from 'node:crypto';
import { readStatusPage } from '../process/own-files.ts';
import { assemblePage } from './assemble-page.ts';

export type Page = {
  readonly html: string;
  /** Its Content-Security-Policy: its one style and one script, by hash, and requests to its endpoint. */
  readonly policy: string;
};

/** Reads the page. */
export function readPage(): Page {
  const html = readStatusPage() ?? assemblePage();
  const policy = [
    "default-src 'none'",
    `style-src '${hashOf(html, 'style')}'`,
    `script-src '${hashOf(html, 'script')}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return { html, policy };
}

function hashOf(html: string, element: 'style' | 'script'): string {
  const content = new RegExp(`<${element}(?: type="module")?>(.*?)</${element}>`, 's').exec(html)?.[1];
  if (content === undefined) throw new TypeError(`status.html has no <${element}>`);
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}
